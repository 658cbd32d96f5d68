#include "runtime/chat/jinja_unicode.h"

namespace lm::jinja {

using unicode::category;
using unicode::Category;

bool is_space(std::uint32_t code_point) {
  if (code_point < 0x80) {
    return code_point == ' ' || (code_point >= 9 && code_point <= 13) ||
           (code_point >= 0x1C && code_point <= 0x1F);
  }
  return code_point == 0x85 || code_point == 0x2028 || code_point == 0x2029 ||
         category(code_point) == Category::zs;
}

bool is_alpha(std::uint32_t code_point) {
  return category(code_point) <= Category::lo;
}

bool is_decimal(std::uint32_t code_point) {
  return category(code_point) == Category::nd;
}

bool is_numeric(std::uint32_t code_point) {
  const Category found = category(code_point);
  return found == Category::nd || found == Category::nl || found == Category::no;
}

bool is_upper(std::uint32_t code_point) {
  return category(code_point) == Category::lu;
}
bool is_lower(std::uint32_t code_point) {
  return category(code_point) == Category::ll;
}
bool is_title(std::uint32_t code_point) {
  return category(code_point) == Category::lt;
}

bool is_printable(std::uint32_t code_point) {
  return code_point == ' ' || category(code_point) < Category::zs;
}

bool begins_name(std::uint32_t code_point) {
  return code_point == '_' || is_alpha(code_point) || category(code_point) == Category::nl;
}

bool continues_name(std::uint32_t code_point) {
  const Category found = category(code_point);
  return begins_name(code_point) || found == Category::nd || found == Category::mn ||
         found == Category::mc || found == Category::pc;
}

}  // namespace lm::jinja

#include "runtime/grammar/string_formats.h"

#include <string>
#include <vector>

#include <fmt/core.h>

#include "runtime/grammar/pattern.h"

namespace lm::grammar {
namespace {

constexpr std::string_view kOctet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

std::string ipv4() {
  return fmt::format("({0}(\\.{0}){{3}})", kOctet);
}

/// RFC 3986, appendix A.
std::string ipv6() {
  const std::string group = "[0-9A-Fa-f]{1,4}";
  const std::string last = fmt::format("({0}:{0}|{1})", group, ipv4());
  std::string out = fmt::format("(({0}:){{6}}{1}", group, last);
  for (int behind = 5; behind >= 0; --behind) {
    // At most 5 - behind groups stand before "::", then `behind` groups and the last two.
    const int before = 5 - behind;
    const std::string front =
        before == 0 ? "" : fmt::format("(({0}:){{0,{1}}}{0})?", group, before - 1);
    out += fmt::format("|{}::({}:){{{}}}{}", front, group, behind, last);
  }
  out += fmt::format("|(({0}:){{0,5}}{0})?::{0}|(({0}:){{0,6}}{0})?::)", group);
  return out;
}

NodeId pattern(RegexPool& pool, const std::string& text) {
  const Result<NodeId> language = compile_pattern(pool, "^(" + text + ")$");
  LM_ASSERT(language, "a format's own pattern does not compile");
  return *language;
}

/// RFC 3339 full-date. Year 0000 is left out: few readers know it.
NodeId date(RegexPool& pool) {
  return pattern(pool,
                 "(?!0000)([0-9]{4}-("
                 "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|"
                 "(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
                 "02-(0[1-9]|1[0-9]|2[0-8]))|"
                 "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)");
}

/// RFC 3339 full-time. A leap second is the last of a day in UTC, so its minute depends on the
/// offset.
NodeId time(RegexPool& pool) {
  const NodeId usual = pattern(pool,
                               "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
                               "([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])");
  std::vector<std::u32string> leap = {U"23:59:60Z", U"23:59:60z"};
  constexpr int kDay = 24 * 60;
  for (int offset = 0; offset < kDay; ++offset) {
    for (const int sign : {1, -1}) {
      const int local = (kDay - 1 + sign * offset + kDay) % kDay;
      const std::string text = fmt::format("{:02}:{:02}:60{}{:02}:{:02}", local / 60, local % 60,
                                           sign > 0 ? '+' : '-', offset / 60, offset % 60);
      leap.emplace_back(text.begin(), text.end());
    }
  }
  return pool.alt({usual, pool.any_of(std::move(leap))});
}

/// RFC 3339, appendix A.
NodeId duration(RegexPool& pool) {
  const std::string n = "[0-9]{1,128}";
  const std::string clock = fmt::format("(T({0}H({0}M({0}S)?)?|{0}M({0}S)?|{0}S))", n);
  return pattern(pool,
                 fmt::format("P({0}W|{1}|({0}Y({0}M({0}D)?)?|{0}M({0}D)?|{0}D){1}?)", n, clock));
}

/// RFC 1123. Labels with hyphens in third and fourth place are names in another alphabet (RFC
/// 5891), whose rules no automaton of this kind can check: left out.
NodeId hostname(RegexPool& pool) {
  const NodeId label = pool.without(pattern(pool, "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"),
                                    pattern(pool, "..--.*"));
  const NodeId any = pool.set(CodeSet::range(0, kCodeEnd - 1));
  return pool.both({pool.concat(label, pool.star(pool.concat(pool.literal(U"."), label))),
                    pool.repeat(any, 1, 253)});
}

/// RFC 5321 Mailbox.
NodeId email(RegexPool& pool) {
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
  const std::string label = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  return pattern(
      pool, fmt::format("({0}(\\.{0})*|\"([ !#-\\[\\]-~]|\\\\[ -~])*\")@({1}(\\.{1})*|\\[{2}\\]|"
                        "\\[IPv6:{3}\\])",
                        atom, label, ipv4(), ipv6()));
}

/// RFC 3986. `relative`: references too.
NodeId uri(RegexPool& pool, bool relative) {
  const std::string escaped = "%[0-9A-Fa-f]{2}";
  const std::string plain = "-A-Za-z0-9._~!$&'()*+,;=";
  const std::string pchar = fmt::format("([{}:@]|{})", plain, escaped);
  const std::string host = fmt::format("(\\[({}|[vV][0-9A-Fa-f]+\\.[{}:]+)\\]|([{}]|{})*)", ipv6(),
                                       plain, plain, escaped);
  const std::string authority = fmt::format("(([{0}:]|{1})*@)?{2}(:[0-9]*)?", plain, escaped, host);
  const std::string absolute = fmt::format("//{0}(/{1}*)*|/({1}+(/{1}*)*)?", authority, pchar);
  const std::string tail = fmt::format("(\\?({0}|[/?])*)?(#({0}|[/?])*)?", pchar);
  const NodeId full = pattern(
      pool, fmt::format("[A-Za-z][A-Za-z0-9+.-]*:({0}|{1}+(/{1}*)*){2}", absolute, pchar, tail));
  if (!relative) {
    return full;
  }
  const std::string first = fmt::format("([{}@]|{})+", plain, escaped);
  return pool.alt(
      {full, pattern(pool, fmt::format("({0}|{1}(/{2}*)*|){3}", absolute, first, pchar, tail))});
}

}  // namespace

StringFormat string_format(RegexPool& pool, std::string_view name) {
  if (name == "date") {
    return {date(pool), {}, true};
  }
  if (name == "time") {
    return {time(pool), {}};
  }
  if (name == "date-time") {
    const NodeId between = pattern(pool, "[Tt]");
    return {pool.concat(date(pool), pool.concat(between, time(pool))), {}, true};
  }
  if (name == "duration") {
    return {duration(pool), {}, true};
  }
  if (name == "uuid") {
    return {pattern(pool, "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"), {}, true};
  }
  if (name == "email") {
    return {email(pool), {}};
  }
  if (name == "ipv4") {
    return {pattern(pool, ipv4()), {}};
  }
  if (name == "ipv6") {
    return {pattern(pool, ipv6()), {}, true};
  }
  if (name == "hostname") {
    return {hostname(pool), "is enforced without internationalised (xn--) labels"};
  }
  if (name == "uri" || name == "uri-reference") {
    return {uri(pool, name == "uri-reference"), {}, name == "uri"};
  }
  if (name == "json-pointer") {
    return {pattern(pool, "(/([^/~]|~[01])*)*"), {}};
  }
  return {std::nullopt, "is not enforced: lm does not know this format"};
}

}  // namespace lm::grammar

// Templates come from files: none may crash, hang, or take more memory or time than its budget.
#include <string>

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include "tests/chat/test_data.h"

namespace lm::test {
namespace LM_FILE {

std::string repeated(std::string_view piece, std::size_t n) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) {
    out += piece;
  }
  return out;
}

// Steps and bytes must do their work without the clock: it only bounds what they leave, and
// machines differ.
Result<Prompt> render_unhurried(const std::string& source) {
  RawRenderOptions options;
  options.now_unix = pinned_now();
  options.budget.wall_ms = 100'000;
  return render_template(source, "{}", options);
}

struct Hostile {
  const char* name;
  std::string source;
  const char* contains;  ///< part of the error; empty: must render
};

std::vector<Hostile> endless_work() {
  return {
      {"macro calls itself", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
       "budget of macro depth"},
      {"macros call each other",
       "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
       "budget of macro depth"},
      {"macro doubles itself", "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
       "budget of macro depth"},
      {"caller recursion",
       "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
       "budget of macro depth"},
      {"recursive loop without end",
       "{% set l = [1] %}{% for x in l recursive %}{{ loop(l) }}{% endfor %}", "budget of"},
      {"macro in default", "{% macro m(a=m()) %}{% endmacro %}{{ m() }}", "budget of macro depth"},
      {"macro as filter argument",
       "{% macro m() %}{{ 'x'|replace('x', m()) }}{% endmacro %}{{ m() }}", "budget of"},
      {"exponential macros",
       "{% macro a() %}x{% endmacro %}" +
           [] {
             std::string s;
             for (int i = 0; i < 40; ++i) {
               const std::string prev = i == 0 ? "a" : "a" + std::to_string(i - 1);
               s += "{% macro a" + std::to_string(i) + "() %}{{ " + prev + "() }}{{ " + prev +
                    "() }}{% endmacro %}";
             }
             return s;
           }() +
           "{{ a39() }}",
       "budget of"},
      {"huge range", "{% for i in range(10**9) %}{% endfor %}", "more than 100000 numbers"},
      {"nested loops",
       "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
       "budget of"},
      {"range of everything",
       "{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775807)|list|length }}",
       ""},
      {"list grows in its loop",
       "{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}{{ l|length }}", ""},
      {"much output", "{% for i in range(99999) %}" + std::string(1000, 'x') + "{% endfor %}",
       "budget of output bytes"},
      {"quadratic text",
       "{% set ns = namespace(s='') %}{% for i in range(99999) %}{% set ns.s = ns.s ~ "
       "'xxxxxxxxxxxxxxxx' %}{% endfor %}",
       "budget of"},
  };
}

std::vector<Hostile> growth() {
  return {
      {"text times a billion", "{{ 'x' * 10**9 }}", "budget of live bytes"},
      {"text times everything", "{{ 'xyz' * 9223372036854775807 }}", "budget of live bytes"},
      {"list times a billion", "{{ [0] * 10**9 }}", "budget of live bytes"},
      {"tuple times everything", "{{ (1, 2, 3) * 9223372036854775807 }}", "budget of live bytes"},
      {"empty text times everything", "{{ '' * 9223372036854775807 }}", ""},
      {"empty list times everything", "{{ [] * 9223372036854775807 }}", ""},
      {"text doubling",
       "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% "
       "endfor %}",
       "budget of"},
      {"list doubling",
       "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% "
       "endfor %}",
       "budget of"},
      {"set block doubling",
       "{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set t %}{{ ns.s }}{{ ns.s }}{% "
       "endset %}{% set ns.s = t %}{% endfor %}",
       "budget of"},
      {"extend by itself",
       "{% set l = [1] %}{% for i in range(99) %}{% set _ = l.extend(l) %}{% endfor %}",
       "budget of"},
      {"printf width", "{{ '%999999999d' % 1 }}", "budget of live bytes"},
      {"printf width beyond numbers", "{{ '%99999999999999999999999d' % 1 }}",
       "budget of live bytes"},
      {"printf precision", "{{ '%.999999999f' % 1.5 }}", "precision above"},
      {"printf text width", "{{ '%999999999s' % 'a' }}", "budget of live bytes"},
      {"printf negative width", "{{ '%-999999999s' % 'a' }}", "budget of live bytes"},
      {"format width", "{{ '{:999999999}'.format('a') }}", "budget of live bytes"},
      {"format fill width", "{{ '{:x^999999999}'.format('a') }}", "budget of live bytes"},
      {"format zero width", "{{ '{:0999999999d}'.format(1) }}", "budget of live bytes"},
      {"format precision", "{{ '{:.999999999f}'.format(1.0) }}", "precision above"},
      {"format nested width", "{{ '{:{}}'.format('a', 999999999) }}", "budget of live bytes"},
      {"format nested fields", "{{ '" + repeated("{0:", 50'000) + "'.format(1) }}",
       "nested too deep"},
      {"replace grows", "{{ ('x' * 100000)|replace('x', 'y' * 100000) }}", "budget of"},
      {"replace of nothing", "{{ ('x' * 1000000)|replace('', 'y' * 1000) }}", "budget of"},
      {"indent width", "{{ 'a\nb'|indent(10**9) }}", "budget of live bytes"},
      {"indent many lines", "{{ ('a\n' * 1000000)|indent(1000) }}", "budget of"},
      {"indent negative", "{{ 'a\nb'|indent(-9223372036854775807) }}", ""},
      {"center", "{{ 'a'|center(10**9) }}", "budget of live bytes"},
      {"center method", "{{ 'a'.center(9223372036854775807) }}", "budget of live bytes"},
      {"ljust", "{{ 'a'.ljust(10**10) }}", "budget of live bytes"},
      {"rjust", "{{ 'a'.rjust(10**10, 'é') }}", "budget of live bytes"},
      {"zfill", "{{ 'a'.zfill(10**10) }}", "budget of live bytes"},
      {"expandtabs", "{{ ('\t' * 1000).expandtabs(10**10) }}", "budget of live bytes"},
      {"join", "{{ range(99999)|join('x' * 100000) }}", "budget of"},
      {"join method", "{{ ('x' * 1000000).join(['a'] * 1000) }}", "budget of"},
      {"tojson indent", "{{ [[1]]|tojson(indent=10**9) }}", "budget of live bytes"},
      {"tojson indent beyond", "{{ [[1]]|tojson(indent=9223372036854775807) }}",
       "budget of live bytes"},
      {"tojson text indent", "{{ [[[[[1]]]]]|tojson(indent='x' * 30000000) }}", "budget of"},
      {"tojson separators", "{{ range(9999)|list|tojson(separators=('x' * 1000000, ':')) }}",
       "budget of"},
      {"batch fill", "{{ [1]|batch(10**12, 'x')|list }}", "budget of"},
      {"slice many", "{{ [1]|slice(10**12)|list }}", "budget of"},
      {"strftime width", "{{ strftime_now('%999999999Y') }}", "unknown conversion"},
      {"strftime long", "{{ strftime_now('%A' * 10000000) }}", "budget of"},
      {"urlencode", "{{ ('\\x01' * 40000000)|urlencode }}", "budget of"},
      {"escape", "{{ ('\"' * 20000000)|e }}", "budget of"},
  };
}

std::vector<Hostile> extreme_numbers() {
  return {
      {"power tower", "{{ 9**9**9 }}", "integer overflow"},
      {"huge power", "{{ 10**9223372036854775807 }}", "integer overflow"},
      {"power of one", "{{ 1**9223372036854775807 }}", ""},
      {"smallest by minus one", "{{ (-9223372036854775807 - 1) // -1 }}", "integer overflow"},
      {"smallest modulo minus one", "{{ (-9223372036854775807 - 1) % -1 }}", ""},
      {"negate the smallest", "{{ -(-9223372036854775807 - 1) }}", "integer overflow"},
      {"abs of the smallest", "{{ (-9223372036854775807 - 1)|abs }}", "abs:"},
      {"float to int", "{{ 1e300|int }}", "integer overflow"},
      {"round far",
       "{{ 1.5|round(9223372036854775807) }}{{ 15|round(-9223372036854775807) }}{{ 1.5|round(-400) "
       "}}",
       ""},
      {"divide by zero", "{{ 1 % 0 }}", "division by zero"},
      {"slice with extremes",
       "{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}", ""},
      {"list slice back",
       "{{ [1,2,3][9223372036854775807:-9223372036854775807:-9223372036854775807] }}", ""},
      {"index beyond", "{{ [1][9223372036854775807] }}{{ 'a'[-9223372036854775807] }}", ""},
  };
}

std::vector<Hostile> structures_in_themselves() {
  return {
      {"list in itself", "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "budget of nesting"},
      {"list in itself as JSON", "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
       "budget of nesting"},
      {"list in itself compared",
       "{% set a = [] %}{% set _ = a.append(a) %}{% set b = [] %}{% set _ = b.append(b) %}{{ a == "
       "b }}",
       "budget of nesting"},
      {"map in itself", "{% set d = {} %}{% set _ = d.update({'d': d}) %}{{ d }}",
       "budget of nesting"},
      {"namespace in itself", "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}",
       "budget of nesting"},
      {"loop kept",
       "{% set k = namespace() %}{% for x in [1] %}{% set k.l = loop %}{% endfor %}{{ k.l.index }}",
       ""},
      {"macro kept in a list",
       "{% set l = [] %}{% macro m() %}{{ l|length }}{% endmacro %}{% set _ = l.append(m) %}{{ "
       "l[0]() }}",
       ""},
      {"deep nesting by a loop",
       "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ 'x' }}",
       ""},
      {"deep nesting printed",
       "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ ns.l }}",
       "budget of nesting"},
      {"deep nesting by append",
       "{% set r = [] %}{% set ns = namespace(l=r) %}{% for i in range(99999) %}{% set n = [] %}{% "
       "set _ = ns.l.append(n) %}"
       "{% set ns.l = n %}{% endfor %}{{ r|length }}",
       ""},
      {"shared exponentially",
       "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
       "endfor %}{{ ns.l|tojson|length }}",
       "budget of"},
      {"shared exponentially, compared",
       "{% set a = namespace(l=[1]) %}{% set b = namespace(l=[1]) %}{% for i in range(60) %}{% set "
       "a.l = [a.l, a.l] %}"
       "{% set b.l = [b.l, b.l] %}{% endfor %}{{ a.l == b.l }}",
       "budget of"},
  };
}

std::vector<Hostile> attribute_walks() {
  return {
      {"class walk", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "has no attribute"},
      {"init globals", "{{ cycler.__init__.__globals__ }}", "has no attribute"},
      {"attr filter", "{{ ''|attr('__class__')|attr('__mro__') }}", "has no attribute"},
      {"subscript walk", "{{ ''['__class__']['__mro__'] }}", "has no attribute"},
      {"format walk", "{{ '{0.__class__.__mro__}'.format('') }}", "has no attribute"},
      {"map attribute walk", "{{ ['']|map(attribute='__class__.__mro__')|list }}",
       "has no attribute"},
      {"import", "{{ __import__('os') }}", "is undefined"},
      {"self", "{{ self._TemplateReference__context }}", "is undefined"},
      {"open", "{{ open('/etc/passwd') }}", "is undefined"},
  };
}

std::vector<Hostile> hostile_sources() {
  const std::string deep(100'000, '(');
  return {
      {"deep parentheses", "{{ " + deep, "nested deeper"},
      {"deep lists", "{{ " + std::string(100'000, '['), "nested deeper"},
      {"deep maps", "{{ " + repeated("{1:", 100'000), "nested deeper"},
      {"deep not", "{{ " + repeated("not ", 100'000) + "x }}", "nested deeper"},
      {"deep minus", "{{ " + std::string(100'000, '-') + "1 }}", "nested deeper"},
      {"deep ifs", repeated("{% if x %}", 50'000), "nested deeper"},
      {"deep fors", repeated("{% for x in y %}", 50'000), "nested deeper"},
      {"deep else", "{{ " + repeated("1 if x else ", 50'000) + "2 }}", "nested deeper"},
      {"deep targets", "{% set " + deep, "nested deeper"},
      {"long attribute chain", "{{ x" + repeated(".a", 100'000) + " }}", "nested deeper"},
      {"long call chain", "{{ x" + repeated("()", 100'000) + " }}", "nested deeper"},
      {"long filter chain", "{{ x" + repeated("|e", 100'000) + " }}", "nested deeper"},
      {"long test chain", "{{ x" + repeated(" is defined", 50'000) + " }}", "can't be chained"},
      {"long sum", "{{ 1" + repeated("+1", 90'000) + " }}", ""},
      {"long product", "{{ 1" + repeated("*1", 90'000) + " }}", ""},
      {"long or", "{{ 0" + repeated(" or 0", 90'000) + " }}", ""},
      {"long concat", "{{ 1" + repeated("~1", 90'000) + " }}", ""},
      {"long comparison", "{{ 1" + repeated("==1", 90'000) + " }}", ""},
      {"too many nodes", repeated("{{x}}", 150'000), "more than 200000 nodes"},
      {"too long", std::string((1 << 20) + 1, 'x'), "the limit is 1048576"},
      {"many elifs", "{% if x %}" + repeated("{% elif x %}", 50'000) + "{% endif %}", ""},
      {"only braces", repeated("{{", 100'000), ""},
      {"only tags", repeated("{%", 100'000), ""},
      {"bytes", std::string("{{ '\0\xff' }}{% \0 %}", 17), "unexpected character"},
  };
}

void expect_harmless(const std::vector<Hostile>& attacks) {
  for (const Hostile& attack : attacks) {
    const auto got = render_unhurried(attack.source);
    if (std::string_view(attack.contains).empty()) {
      // Rendered, or refused as malformed; what counts is that it ended.
      if (!got) {
        EXPECT_EQ(got.error().code, ErrorCode::bad_template) << attack.name;
        EXPECT_FALSE(got.error().problem.contains("budget of"))
            << attack.name << ": " << got.error().problem;
      }
      continue;
    }
    ASSERT_FALSE(got) << attack.name << " rendered";
    EXPECT_TRUE(got.error().problem.contains(attack.contains))
        << attack.name << ": " << got.error().problem;
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::printf("hostile templates: %zu, peak memory: %ld MiB\n", attacks.size(),
              usage.ru_maxrss / 1024);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(usage.ru_maxrss, 256 * 1024);
#endif
}

TEST(JinjaHostile, EndlessWorkIsStopped) {
  expect_harmless(endless_work());
}
TEST(JinjaHostile, GrowthIsRefusedBeforeItIsMade) {
  expect_harmless(growth());
}
TEST(JinjaHostile, ExtremeNumbersAreErrorsOrRight) {
  expect_harmless(extreme_numbers());
}
TEST(JinjaHostile, StructuresInThemselvesEndWell) {
  expect_harmless(structures_in_themselves());
}
TEST(JinjaHostile, AttributeWalksFindNothing) {
  expect_harmless(attribute_walks());
}
TEST(JinjaHostile, HostileSourcesAreRefusedOrHarmless) {
  expect_harmless(hostile_sources());
}

TEST(JinjaHostile, NestingUpToTheLimitStillCompiles) {
  const auto nested = [](std::size_t n) {
    return render("{{ " + std::string(n, '(') + "1" + std::string(n, ')') + " }}");
  };
  EXPECT_EQ(shown(nested(250)), "1");
  EXPECT_FALSE(nested(257));
  const auto lists = [](std::size_t n) {
    return render("{{ " + std::string(n, '[') + std::string(n, ']') + " }}");
  };
  EXPECT_EQ(shown(lists(250)), std::string(250, '[') + std::string(250, ']'));
  EXPECT_FALSE(lists(258));
}

/// The deepest that the limits allow must fit a stack of half the usual size, so that any thread
/// may render.
TEST(JinjaHostile, DeepestEvaluationFitsFourMebibytesOfStack) {
  const std::string deepest[] = {
      "{% macro m(n) %}" + repeated("{% if n %}", 30) + repeated("{{ [", 1) +
          repeated("[m(n - 1)", 1) + std::string(2, ']') + " }}" + repeated("{% endif %}", 30) +
          "{% endmacro %}{{ m(99) }}",
      "{% macro m(n) %}{{ " + repeated("(", 50) + "1 + m(n - 1)|default(" + repeated(")", 50) +
          ") }}{% endmacro %}{{ m(99) }}",
      "{% for x in [1] recursive %}{% filter upper %}{% set y %}{{ [loop([1])]|map('upper')|list "
      "}}{% endset %}"
      "{% endfilter %}{% endfor %}",
      "{% macro m(n) %}{% call m(n) %}{{ [1]|map('string')|map('upper')|join(caller()) }}{% "
      "endcall %}{% endmacro %}{{ m(1) }}",
      "{% set ns = namespace(l=[]) %}{% for i in range(999) %}{% set ns.l = [ns.l] %}{% endfor "
      "%}{{ ns.l }}{{ ns.l|tojson }}",
      "{{ " + std::string(256, '(') + "1" + std::string(256, ')') + " }}",
      repeated("{% if 1 %}", 250) + "x" + repeated("{% endif %}", 250),
      "{{ " + repeated("[1]|map('string',", 200),
  };
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::size_t kStack = 32u << 20;  // frames of sanitizers are several times as large
#else
  constexpr std::size_t kStack = 4u << 20;
#endif
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_t thread{};
  ASSERT_EQ(pthread_create(
                &thread, &attributes,
                [](void* sources) -> void* {
                  for (const std::string& source : *static_cast<const std::string(*)[8]>(sources)) {
                    (void)render_unhurried(source);
                  }
                  return nullptr;
                },
                const_cast<std::string(*)[8]>(&deepest)),
            0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(JinjaHostile, BudgetsAreThoseOfTheCaller) {
  const auto with = [](auto change, const std::string& source) {
    RawRenderOptions options;
    change(options.budget);
    return render_template(source, "{}", options);
  };
  const auto steps = with([](TemplateBudget& budget) { budget.steps = 100; },
                          "a\n{% for i in range(99) %}{{ i }}{% endfor %}");
  EXPECT_EQ(shown(steps), "Error: budget of steps exceeded at line 2");
  const auto output = with([](TemplateBudget& budget) { budget.output_bytes = 3; }, "ab\ncd");
  EXPECT_EQ(shown(output), "Error: budget of output bytes exceeded at line 1");
  const auto fits = with([](TemplateBudget& budget) { budget.output_bytes = 5; }, "ab\ncd");
  EXPECT_EQ(shown(fits), "ab\ncd");
  const auto live = with([](TemplateBudget& budget) { budget.live_bytes = 100'000; },
                         "\n{% set x = 'a' * 200000 %}");
  EXPECT_EQ(shown(live), "Error: budget of live bytes exceeded at line 2");
  const auto depth =
      with([](TemplateBudget& budget) { budget.macro_depth = 3; },
           "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}");
  EXPECT_EQ(shown(depth), "Error: budget of macro depth exceeded at line 1");
  const auto time = with([](TemplateBudget& budget) { budget.wall_ms = 0; },
                         "{% for i in range(9999) %}{% endfor %}");
  EXPECT_TRUE(shown(time).contains("budget of time exceeded")) << shown(time);
}

TEST(JinjaHostile, MemoryThatIsGivenBackMayBeUsedAgain) {
  // 40 rounds of 4 MB: together more than the budget, never at once.
  EXPECT_EQ(shown(render_unhurried(
                "{% for i in range(40) %}{% set x = 'a' * 4000000 %}{{ x|length }} {% endfor %}")),
            repeated("4000000 ", 40));
}

TEST(JinjaHostile, EveryPrefixOfATemplateEndsWell) {
  const std::string source =
      "{# c #}{% set x = {'a': [1, 2.5e3, \"s\\n\"], 'b': none} %}{%- for k, v in x|dictsort if v "
      "is not none recursive -%}"
      "{{ loop.index ~ k[1:-1:2] }}{% else %}{% endfor %}{% macro m(a, b=1) %}{{ "
      "caller(a)|default('x', true) }}{% endmacro %}"
      "{% call(q) m(*[1], **{'b': 2}) %}{{ q if q else 3 }}{% endcall %}{% raw %}{{{% endraw %}{% "
      "filter upper %}x{% endfilter %}";
  ASSERT_TRUE(render(source)) << shown(render(source));
  for (std::size_t n = 0; n < source.size(); ++n) {
    const auto got = render(source.substr(0, n));
    if (!got) {
      EXPECT_EQ(got.error().code, ErrorCode::bad_template) << n;
    }
  }
}

TEST(JinjaHostile, RandomChangesOfATemplateNeverCrash) {
  const std::string source =
      "{% macro m(a, b=[]) %}{{ a|upper|replace('A', b|join('-')) }}{% endmacro %}{% for x in "
      "range(3) %}{{ m('a' ~ x, [x, 'é']) }}"
      "{{ '%5.2f|{:>4}'|format(x) if x else '{:>4}'.format(x) }}{{ {'k': "
      "x}.items()|list|tojson(indent=2) }}{% endfor %}"
      "{{ 'a,b'.split(',')[::-1] }}{% set ns = namespace(l=[]) %}{% set _ = "
      "ns.l.append(ns.l|length) %}{{ ns.l }}";
  ASSERT_TRUE(render(source));
  constexpr std::string_view kBytes = "{}%#|()[]'\"\\.,:~+-*/<>=! \n0129axe\xff\xc3";
  std::uint64_t state = 88172645463325252ull;  // xorshift64 (Marsaglia 2003)
  const auto next = [&state](std::uint64_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<std::size_t>(state % n);
  };
  int rendered = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string changed = source;
    for (std::size_t i = 0, n = 1 + next(4); i < n; ++i) {
      const std::size_t at = next(changed.size());
      switch (next(4)) {
        case 0:
          changed[at] = kBytes[next(kBytes.size())];
          break;
        case 1:
          changed.erase(at, 1 + next(8));
          break;
        case 2:
          changed.insert(at, 1, kBytes[next(kBytes.size())]);
          break;
        default:
          changed.insert(at, changed.substr(next(changed.size()), next(20)));
      }
    }
    RawRenderOptions options;
    options.budget.steps = 20'000;
    rendered += render_template(changed, "{}", options).has_value() ? 1 : 0;
  }
  EXPECT_GT(rendered, 0);
}

}  // namespace LM_FILE
}  // namespace lm::test

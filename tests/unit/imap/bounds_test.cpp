// Every bound of limits.hpp that the parsers keep, at the bound and one past it. Those of the fragmenter, the
// builder and the multiplexer stand with their tests.
#include "parse_support.hpp"
#include "postern/imap/limits.hpp"

namespace postern::imap {
namespace {

const std::string part = "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)";

// The first part that has none of its own, and how deep it is.
std::pair<const BodyStructure*, std::size_t> innermost(const FetchData& data) {
  const auto* body = data.body_structure.get();
  std::size_t depth = body == nullptr ? 0 : 1;
  for (; body != nullptr && !body->parts.empty(); body = &body->parts.front()) ++depth;
  return {body, depth};
}

// What is too deep is one part that nothing is known of.
void expect_cut(const FetchData& past) {
  const auto [leaf, depth] = innermost(past);
  ASSERT_NE(leaf, nullptr);
  EXPECT_EQ(depth, nesting_max + 1);
  EXPECT_EQ(leaf->type + "/" + leaf->subtype, "application/octet-stream");
  EXPECT_EQ(past.uid, 9u);
}

TEST(Bounds, BodiesInBodies) {
  const auto nested = [](std::size_t depth) {  // depth bodies in all
    return "(BODYSTRUCTURE " + repeated("(", depth - 1) + part + repeated(" \"mixed\")", depth - 1) +
           " UID 9)";
  };
  EXPECT_EQ(innermost(fetched(nested(nesting_max))).first->subtype, "plain");
  expect_cut(fetched(nested(nesting_max + 1)));
  expect_cut(fetched(nested(1'000'000)));
}

TEST(Bounds, MessagesInMessages) {
  const std::string head = "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 1 (NIL) ";
  const auto nested = [&](std::size_t depth) {
    return "(BODYSTRUCTURE " + repeated(head, depth - 1) + part + repeated(" 1)", depth - 1) + " UID 9)";
  };
  EXPECT_EQ(innermost(fetched(nested(nesting_max))).first->subtype, "plain");
  expect_cut(fetched(nested(nesting_max + 1)));
  expect_cut(fetched(nested(100'000)));
}

TEST(Bounds, PartsOfABody) {
  const auto parts = [](std::size_t count) {  // the multipart counts, too
    return fetched("(BODYSTRUCTURE (" + repeated(part, count - 1) + " \"mixed\") UID 9)");
  };
  for (const auto beyond : {0, 1, 2'000}) {  // those are left out
    const auto at = parts(body_parts_max + static_cast<std::size_t>(beyond));
    ASSERT_TRUE(at.body_structure);
    EXPECT_EQ(at.body_structure->parts.size(), body_parts_max - 1);
    EXPECT_EQ(at.body_structure->subtype, "mixed");
    EXPECT_EQ(at.uid, 9u);
  }
}

TEST(Bounds, TheMessageInTheLastPart) {
  const std::string message = "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 1 (NIL) " + part + " 1)";
  const auto parts = [&](std::size_t before) {
    return fetched("(BODYSTRUCTURE (" + repeated(part, before) + message + part + " \"mixed\") UID 9)");
  };
  const auto in = parts(body_parts_max - 3), out = parts(body_parts_max - 2);
  ASSERT_TRUE(in.body_structure && out.body_structure);
  EXPECT_EQ(in.body_structure->parts.back().parts.size(), 1u);
  EXPECT_EQ(in.body_structure->parts.size(), body_parts_max - 2);
  EXPECT_EQ(out.body_structure->parts.back().parts.size(), 0u);
  EXPECT_EQ(out.body_structure->parts.size(), body_parts_max - 1);
}

TEST(Bounds, AddressesOfAnEnvelope) {
  const auto addresses = [](std::size_t count) {
    const std::string address = "(NIL NIL \"m\" \"h\")";
    return fetched("(ENVELOPE (NIL \"s\" (" + address + ") NIL NIL (" + repeated(address, count - 1) +
                   ") NIL NIL NIL NIL) UID 9)");
  };
  const auto at = addresses(addresses_max);
  ASSERT_TRUE(at.envelope);
  EXPECT_EQ(at.envelope->to.size(), addresses_max - 1);
  EXPECT_FALSE(addresses(addresses_max + 1).envelope);
  EXPECT_EQ(addresses(addresses_max + 1).uid, 9u);
}

std::string numbered(std::string_view prefix, std::size_t count) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i)
    out += (i == 0 ? "" : " ") + std::string(prefix) + std::to_string(i);
  return out;
}

TEST(Bounds, Flags) {
  EXPECT_EQ(fetched("(FLAGS (" + numbered("k", flags_max) + ") UID 9)").flags->keywords.size(), flags_max);
  const auto past = fetched("(FLAGS (" + numbered("k", flags_max + 1) + ") UID 9)");
  EXPECT_FALSE(past.flags);
  EXPECT_EQ(past.uid, 9u);
  EXPECT_EQ(parsed<FlagsResponse>("* FLAGS (" + numbered("k", flags_max) + ")").flags.keywords.size(),
            flags_max);
  EXPECT_EQ(refusal("* FLAGS (" + numbered("k", flags_max + 1) + ")"), Errc::too_large);
}

TEST(Bounds, ListsOfOtherThings) {
  const std::string at = numbered("a", flags_max), past = numbered("a", flags_max + 1);
  EXPECT_EQ(parsed<ListResponse>("* LIST (" + at + ") \"/\" x").attributes.size(), flags_max);
  EXPECT_EQ(refusal("* LIST (" + past + ") \"/\" x"), Errc::too_large);
  EXPECT_EQ(fetched("(X-GM-LABELS (" + at + "))").gm_labels->size(), flags_max);
  EXPECT_FALSE(fetched("(X-GM-LABELS (" + past + "))").gm_labels);
  EXPECT_EQ(parsed<QuotaRootResponse>("* QUOTAROOT x " + at).roots.size(), flags_max);
  EXPECT_EQ(refusal("* QUOTAROOT x " + past), Errc::too_large);
  EXPECT_EQ(parsed<MetadataResponse>("* METADATA x " + at).entries.size(), flags_max);
  EXPECT_EQ(refusal("* METADATA x " + past), Errc::too_large);
  EXPECT_EQ(parsed<IdResponse>("* ID (" + numbered("a", 2 * flags_max) + ")").fields.size(), flags_max);
  EXPECT_EQ(refusal("* ID (" + numbered("a", 2 * flags_max + 1) + ")"), Errc::too_large);
  const std::string resource = "R 1 2 ", name = "(\"\" \"/\")";
  EXPECT_EQ(parsed<QuotaResponse>("* QUOTA x (" + repeated(resource, flags_max) + ")").resources.size(),
            flags_max);
  EXPECT_EQ(refusal("* QUOTA x (" + repeated(resource, flags_max + 1) + ")"), Errc::too_large);
  EXPECT_EQ(parsed<NamespaceResponse>("* NAMESPACE (" + repeated(name, flags_max) + ")").personal.size(),
            flags_max);
  EXPECT_EQ(refusal("* NAMESPACE (" + repeated(name, flags_max + 1) + ")"), Errc::too_large);
}

TEST(Bounds, Capabilities) {
  EXPECT_EQ(parsed<CapabilityResponse>("* CAPABILITY " + numbered("X", capabilities_max)).names.size(),
            capabilities_max);
  EXPECT_EQ(refusal("* CAPABILITY " + numbered("X", capabilities_max + 1)), Errc::too_large);
}

TEST(Bounds, NumbersOfASearch) {
  EXPECT_EQ(parsed<SearchResponse>("* SEARCH" + repeated(" 7", numbers_max)).numbers.size(), numbers_max);
  EXPECT_EQ(refusal("* SEARCH" + repeated(" 7", numbers_max + 1)), Errc::too_large);
  EXPECT_EQ(refusal("* SORT" + repeated(" 7", numbers_max + 1)), Errc::too_large);
}

TEST(Bounds, NumbersOfARange) {
  const auto all = [](std::size_t count) { return "* ESEARCH (TAG \"a\") ALL 1:" + std::to_string(count); };
  EXPECT_EQ(parsed<EsearchResponse>(all(numbers_max)).all_ordered.size(), numbers_max);
  EXPECT_EQ(refusal(all(numbers_max + 1)), Errc::too_large);
  EXPECT_EQ(refusal(all(4294967295)), Errc::too_large);
}

TEST(Bounds, RangesOfASet) {
  const auto set = [](std::size_t count) {
    std::string out = "1";
    for (std::size_t i = 1; i < count; ++i) out += "," + std::to_string(2 * i + 1);
    return out;
  };
  const auto at = UidSet::parse(set(uid_set_ranges_max));
  ASSERT_TRUE(at);
  EXPECT_EQ(at->ranges().size(), uid_set_ranges_max);
  EXPECT_EQ(UidSet::parse(set(uid_set_ranges_max + 1)).error().code, Errc::too_large);
  EXPECT_EQ(refusal("* VANISHED " + set(uid_set_ranges_max + 1)), Errc::too_large);
}

std::size_t depth_of(const std::vector<ThreadNode>& nodes) {
  std::size_t deepest = 0;
  for (const ThreadNode& node : nodes) deepest = std::max(deepest, 1 + depth_of(node.children));
  return deepest;
}
std::size_t count_of(const std::vector<ThreadNode>& nodes) {
  std::size_t count = nodes.size();
  for (const ThreadNode& node : nodes) count += count_of(node.children);
  return count;
}

TEST(Bounds, DepthOfAThread) {
  const auto chain = [](std::size_t length) {
    return parsed<ThreadResponse>("* THREAD (" + repeated(" 7", length) + ")").threads;
  };
  EXPECT_EQ(depth_of(chain(thread_depth_max)), thread_depth_max);
  const auto past = chain(thread_depth_max + 1);
  EXPECT_EQ(depth_of(past), thread_depth_max);
  EXPECT_EQ(count_of(past), thread_depth_max + 1) << "nothing is lost";
  const auto far_past = chain(1'000'000);
  EXPECT_EQ(depth_of(far_past), thread_depth_max);
  EXPECT_EQ(count_of(far_past), 1'000'000u);
}

TEST(Bounds, DepthOfAThreadInParentheses) {
  const auto nested = [](std::size_t depth) {
    return parsed<ThreadResponse>("* THREAD " + repeated("(7 ", depth) + repeated(")", depth) + "(8)")
        .threads;
  };
  EXPECT_EQ(depth_of(nested(thread_depth_max)), thread_depth_max);
  const auto past = nested(500'000);
  EXPECT_EQ(depth_of(past), thread_depth_max);
  EXPECT_EQ(count_of(past), 500'001u);
  ASSERT_EQ(past.size(), 2u);
  EXPECT_EQ(past[1].number, 8u);
  const auto empty =
      parsed<ThreadResponse>("* THREAD " + repeated("(", 100'000) + repeated(")", 100'000)).threads;
  EXPECT_LE(depth_of(empty), thread_depth_max);
}

TEST(Bounds, NumbersOfAThread) {
  EXPECT_EQ(refusal("* THREAD (" + repeated(" 7", numbers_max + 1) + ")"), Errc::too_large);
  EXPECT_EQ(refusal("* THREAD " + repeated("()", numbers_max + 1)), Errc::too_large);
}

TEST(Bounds, DeepUnknownDataIsSkippedWithoutRecursion) {
  const auto d = fetched("(X " + repeated("(", 2'000'000) + repeated(")", 2'000'000) + " UID 9)");
  EXPECT_EQ(d.uid, 9u);
}

}  // namespace
}  // namespace postern::imap

// Messages of many parts: they are listed as any other, and each part has what is its own. What they cost is measured
// by tests/bench/methods_bench.cpp.
#include "unit/broker/jmap_fixture.hpp"

namespace postern::broker {
namespace {

struct ManyParts : JmapFixture {
  void SetUp() override {
    options.mailboxes = {{"INBOX", "", 2}};
    start();
  }
  static std::string flat(std::size_t parts) {  // the multipart counts, too
    std::string raw =
        "Subject: many\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n";
    for (std::size_t i = 1; i < parts; ++i) {
      const auto number = std::to_string(i);
      raw += "--b\r\nContent-Type: text/plain\r\nX-Number: " + number + "\r\n\r\npart " + number + "\r\n";
    }
    return raw + "--b--\r\n";
  }
  rapidjson::Document list() {
    return ask(call("Email/query", R"("sort":[{"property":"receivedAt","isAscending":false}])", "q") + "," +
               call("Email/get",
                    R"("#ids":{"resultOf":"q","name":"Email/query","path":"/ids"},)"
                    R"("properties":["subject","preview","hasAttachment","size"])",
                    "g"));
  }
};

TEST_F(ManyParts, AMessageOfThemIsListedAsAnyOther) {
  for (const std::size_t parts : {500, 501}) ASSERT_NE(imapd->deliver("alice", "INBOX", flat(parts)), 0u);
  const auto page = list();
  const auto& got = page["methodResponses"][1][1]["list"];
  ASSERT_EQ(got.Size(), 4u);
  unsigned many = 0;
  for (const auto& email : got.GetArray()) {
    if (std::string(email["subject"].GetString()) != "many") continue;
    ++many;
    EXPECT_STREQ(email["preview"].GetString(), "part 1");
  }
  EXPECT_EQ(many, 2u);
}

TEST_F(ManyParts, EachHasItsOwnValueSizeAndHeader) {
  constexpr unsigned parts = 300;
  ASSERT_NE(imapd->deliver("alice", "INBOX", flat(parts + 1)), 0u);
  const auto page = list();
  const std::string id = page["methodResponses"][0][1]["ids"][0].GetString();
  const auto all =
      ask(call("Email/get",
               R"("ids":[")" + id +
                   R"("],"properties":["bodyStructure","textBody","bodyValues"],"fetchAllBodyValues":true,)"
                   R"("bodyProperties":["partId","size","subParts","header:X-Number"])"));
  const auto& told = all["methodResponses"][0][1]["list"][0];
  ASSERT_EQ(told["bodyStructure"]["subParts"].Size(), parts);
  EXPECT_EQ(told["textBody"].Size(), parts);
  EXPECT_EQ(told["bodyValues"].MemberCount(), parts);
  for (unsigned i = 1; i <= parts; ++i) {
    const auto number = std::to_string(i);
    const auto& part = told["bodyStructure"]["subParts"][i - 1];
    EXPECT_EQ(part["partId"].GetString(), number);
    EXPECT_EQ(part["header:X-Number"].GetString(), " " + number);
    EXPECT_EQ(part["size"].GetUint(), 5 + number.size());
    EXPECT_EQ(told["bodyValues"][number.c_str()]["value"].GetString(), "part " + number);
  }
}

}  // namespace
}  // namespace postern::broker

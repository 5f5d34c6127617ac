// JSON out and in: RFC 8259; RFC 8620, 1.2 to 1.4.
#include "postern/jmap/json.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace postern::jmap {
namespace {

std::string written(std::string_view value) {
  std::string out;
  JsonWriter writer(out);
  writer.string(value);
  return out;
}

TEST(JsonWriter, WritesDocuments) {
  std::string out = "before ";
  JsonWriter writer(out);
  writer.start_object();
  writer.member("a", "x");
  writer.member_uint("b", 18446744073709551615ULL);
  writer.member_bool("c", true);
  writer.member_null("d");
  writer.key("e");
  writer.start_array();
  writer.integer(-1);
  writer.raw(R"({"cached":[1,2]})");
  writer.raw("null");
  writer.string_or_null(std::nullopt);
  writer.string_or_null("y");
  writer.end_array();
  writer.key("f");
  writer.start_object();
  writer.end_object();
  writer.member_utc_date("g", 1381673520);
  EXPECT_FALSE(writer.complete());
  writer.end_object();
  EXPECT_TRUE(writer.complete());
  EXPECT_EQ(
      out,
      R"(before {"a":"x","b":18446744073709551615,"c":true,"d":null,"e":[-1,{"cached":[1,2]},null,null,"y"],)"
      R"("f":{},"g":"2013-10-13T14:12:00Z"})");
}

TEST(JsonWriter, EscapesWhatMustBeEscaped) {
  EXPECT_EQ(written(""), "\"\"");
  EXPECT_EQ(written("a\"b\\c/d\n\r\t"), R"("a\"b\\c/d\n\r\t")");
  EXPECT_EQ(written(std::string_view("\0\x01\x1F\x7F", 4)), "\"\\u0000\\u0001\\u001f\x7F\"");
  EXPECT_EQ(written("caf\xC3\xA9 \xF0\x9F\x98\x80"), "\"caf\xC3\xA9 \xF0\x9F\x98\x80\"");
}

TEST(JsonWriter, NeverWritesInvalidUtf8) {
  EXPECT_EQ(written("a\xFFz"), "\"a\xEF\xBF\xBDz\"");
  EXPECT_EQ(written("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  for (int c = 0; c < 256; ++c) {
    rapidjson::Document document;
    const char octet = static_cast<char>(c);
    const std::string json = written(std::string_view(&octet, 1));
    document.Parse<rapidjson::kParseValidateEncodingFlag>(json.data(), json.size());
    EXPECT_TRUE(document.IsString()) << c;
  }
}

TEST(JsonWriter, CopiesValues) {
  const std::string json = R"({"a":[1,-2,1.5,true,false,null,"x\n"],"b":{}})";
  rapidjson::Document document;
  document.Parse(json.c_str());
  std::string out;
  JsonWriter writer(out);
  writer.value(document);
  EXPECT_EQ(out, json);
}

TEST(UtcDate, WholeRange) {
  EXPECT_EQ(utc_date(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(utc_date(-1), "1969-12-31T23:59:59Z");
  EXPECT_EQ(utc_date(253402300799), "9999-12-31T23:59:59Z");
  EXPECT_EQ(utc_date(253402300800), "9999-12-31T23:59:59Z");
  EXPECT_EQ(utc_date(-62167219200), "0000-01-01T00:00:00Z");
  EXPECT_EQ(utc_date(std::numeric_limits<std::int64_t>::min()), "0000-01-01T00:00:00Z");
  EXPECT_EQ(utc_date(std::numeric_limits<std::int64_t>::max()), "9999-12-31T23:59:59Z");
}

class Reading : public testing::Test {
 protected:
  rapidjson::Document parse(const char* json) {
    rapidjson::Document document;
    document.Parse(json);
    EXPECT_FALSE(document.HasParseError()) << json;
    return document;
  }
};

TEST_F(Reading, Strings) {
  const auto document = parse(R"({"a":"x","b":1,"c":null})");
  EXPECT_EQ(get_string(document, "a").value(), "x");
  EXPECT_EQ(get_string(document, "c").value(), std::nullopt);
  EXPECT_EQ(get_string(document, "d").value(), std::nullopt);
  EXPECT_EQ(get_string(document, "b", "/list/0").error().description(), "/list/0/b: must be a string");
  EXPECT_EQ(require_string(document, "a").value(), "x");
  EXPECT_EQ(require_string(document, "d").error().description(), "/d: is missing");
}

TEST_F(Reading, Numbers) {
  const auto document = parse(
      R"({"a":9007199254740991,"b":9007199254740992,"c":-1,"d":1.5,"e":"1","f":-9007199254740991,"g":1e3})");
  EXPECT_EQ(get_uint(document, "a").value(), json_uint_max);
  EXPECT_EQ(get_int(document, "a").value(), static_cast<std::int64_t>(json_uint_max));
  EXPECT_EQ(get_int(document, "c").value(), -1);
  EXPECT_EQ(get_int(document, "f").value(), -static_cast<std::int64_t>(json_uint_max));
  for (const char* name : {"b", "c", "d", "e", "f", "g"}) EXPECT_FALSE(get_uint(document, name)) << name;
  for (const char* name : {"b", "d", "e", "g"}) EXPECT_FALSE(get_int(document, name)) << name;
  EXPECT_EQ(get_uint(document, "x").value(), std::nullopt);
}

TEST_F(Reading, Booleans) {
  const auto document = parse(R"({"a":true,"b":0,"c":null})");
  EXPECT_TRUE(get_bool(document, "a", false).value());
  EXPECT_TRUE(get_bool(document, "c", true).value());
  EXPECT_FALSE(get_bool(document, "x", false).value());
  EXPECT_EQ(get_bool(document, "b", false).error().description(), "/b: must be true or false");
}

TEST_F(Reading, Ids) {
  EXPECT_TRUE(is_valid_id("aZ09-_"));
  EXPECT_TRUE(is_valid_id(std::string(255, 'x')));
  EXPECT_FALSE(is_valid_id(std::string(256, 'x')));
  for (const std::string_view id : {"", "a b", "a.b", "a/b", "\xC3\xA9", "#a"})
    EXPECT_FALSE(is_valid_id(id)) << id;
  const auto document = parse(R"({"a":"x1","b":"x y"})");
  EXPECT_EQ(require_id(document, "a").value(), "x1");
  EXPECT_FALSE(require_id(document, "b"));
  EXPECT_FALSE(get_id(document, "b"));
  EXPECT_FALSE(require_id(document, "c"));
}

TEST_F(Reading, Lists) {
  const auto document = parse(R"({"a":["x","y"],"b":["x",1],"c":"x","d":[]})");
  EXPECT_EQ(get_strings(document, "a", 2).value(), (std::vector<std::string_view>{"x", "y"}));
  EXPECT_EQ(get_strings(document, "d", 2).value(), std::vector<std::string_view>{});
  EXPECT_EQ(get_strings(document, "x", 2).value(), std::nullopt);
  EXPECT_EQ(get_strings(document, "a", 1).error().description(), "/a: must not have more than 1 items");
  EXPECT_EQ(get_strings(document, "b", 2).error().description(), "/b/1: must be a string");
  EXPECT_FALSE(get_strings(document, "c", 2));
}

TEST_F(Reading, NotAnObject) {
  const auto document = parse("[1]");
  EXPECT_EQ(find_member(document, "a"), nullptr);
  EXPECT_EQ(get_string(document, "a").value(), std::nullopt);
}

TEST(JsonPointer, Escapes) {
  EXPECT_EQ(json_pointer("", "a/b~c"), "/a~1b~0c");
  EXPECT_EQ(json_pointer("/x", std::size_t{3}), "/x/3");
  EXPECT_EQ(json_pointer("", std::string(300, 'x')).size(), 257u);
}

}  // namespace
}  // namespace postern::jmap

// Charsets to UTF-8: labels as they are meant, guesses, malformed text.
#include <gtest/gtest.h>

#include "postern/mail/mime/charset.hpp"

namespace postern::mail {
namespace {

constexpr std::string_view bad = "\xEF\xBF\xBD";

std::string text_of(std::string_view bytes, std::string_view label) { return to_utf8(bytes, label).text; }

TEST(Charset, KnownLabels) {
  for (const std::string_view label :
       {"utf-8",           "UTF8",        "\"utf-8\"",      " us-ascii ",  "ISO_8859-1", "iso8859-15",
        "ISO-8859-1:1987", "cp1252",      "win-1251",       "windows1250", "x-sjis",     "x-gbk",
        "GB2312",          "gb_2312-80",  "ks_c_5601-1987", "KSC5601",     "x-euc-jp",   "big5",
        "iso-2022-jp",     "iso-2022-kr", "hz-gb-2312",     "utf-7",       "utf-16",     "koi8-r",
        "x-mac-roman",     "tis-620"})
    EXPECT_TRUE(is_known_charset(label)) << label;
  for (const std::string_view label : {"", "x-unknown", "unknown-8bit", "utf-9", "UTF-8//IGNORE",
                                       "../../etc/passwd", "iso-2022-cn-ext", "//TRANSLIT", "iso-8859-99"})
    EXPECT_FALSE(is_known_charset(label)) << label;
}

// Every entry of the table has a decoder in the C library.
TEST(Charset, EveryLabelDecodes) {
  for (const std::string_view label :
       {"iso-8859-2",  "iso-8859-3",   "iso-8859-4",  "iso-8859-5",  "iso-8859-6",  "iso-8859-7",
        "iso-8859-8",  "iso-8859-9",   "iso-8859-10", "iso-8859-11", "iso-8859-13", "iso-8859-14",
        "iso-8859-15", "iso-8859-16",  "cp1250",      "cp1251",      "cp1252",      "cp1253",
        "cp1254",      "cp1255",       "cp1256",      "cp1257",      "cp1258",      "koi8-r",
        "koi8-u",      "ibm866",       "cp437",       "cp850",       "cp852",       "cp855",
        "macintosh",   "mac-cyrillic", "viscii",      "armscii-8",   "georgian-ps", "gb18030",
        "big5",        "euc-tw",       "euc-kr",      "iso-2022-kr", "johab",       "shift_jis",
        "euc-jp",      "iso-2022-jp",  "hz",          "utf-7",       "iso-8859-1",  "tcvn"}) {
    const Utf8Text text = to_utf8("plain text 123", label);
    EXPECT_EQ(text.text, "plain text 123") << label;
    EXPECT_FALSE(text.malformed) << label;
    EXPECT_TRUE(text.charset_known) << label;
  }
}

TEST(Charset, LabelsAreReadAsMeant) {
  EXPECT_EQ(text_of("\x80\x93x\x94", "iso-8859-1"), "\xE2\x82\xAC\xE2\x80\x9Cx\xE2\x80\x9D");
  EXPECT_EQ(text_of("\xA4", "iso-8859-15"), "\xE2\x82\xAC");
  EXPECT_EQ(text_of("\x81\x30\x81\x30", "gb2312"), "\xC2\x80");  // GB18030 only
  EXPECT_EQ(text_of("\xC4\xE3", "gb2312"), "\xE4\xBD\xA0");
  EXPECT_EQ(text_of("\x8C\x63", "ks_c_5601-1987"), "\xEB\x98\xA0");  // CP949 only
  EXPECT_EQ(text_of("\x87\x40", "shift_jis"), "\xE2\x91\xA0");       // CP932's NEC row 13
  EXPECT_EQ(text_of("\xD0", "iso-8859-9"), "\xC4\x9E");
  EXPECT_EQ(text_of("Hi Mom -+Jjo--!", "utf-7"), "Hi Mom -\xE2\x98\xBA-!");  // RFC 2152
}

TEST(Charset, Iso2022Jp) {
  EXPECT_EQ(text_of("\x1B$B$3$s\x1B(B!", "iso-2022-jp"), "\xE3\x81\x93\xE3\x82\x93!");
  EXPECT_EQ(text_of("\x1B$B-!\x1B(B", "iso-2022-jp"), "\xE2\x91\xA0");  // NEC row 13
  EXPECT_EQ(text_of("\x1B(I1\x1B(J~", "iso-2022-jp"), "\xEF\xBD\xB1~");
  EXPECT_EQ(text_of("\x1B$B$3\nabc", "iso-2022-jp"), "\xE3\x81\x93\nabc");
  // All rows go where Shift_JIS has them: first, odd, even, 31 to 32 (where the lead octet jumps), last.
  EXPECT_EQ(text_of("\x1B$B!!0!0\"^~_!t$\x1B(B", "iso-2022-jp"),
            "\xE3\x80\x80\xE4\xBA\x9C\xE5\x94\x96\xE6\xBB\x8C\xE6\xBC\xBE\xE7\x91\xA4");
  const Utf8Text broken = to_utf8("\x1B$B$3$", "iso-2022-jp");
  EXPECT_EQ(broken.text, std::string("\xE3\x81\x93") + std::string(bad));
  EXPECT_TRUE(broken.malformed);
}

TEST(Charset, Hz) {
  EXPECT_EQ(text_of("~{<:Ky2;S{~}a~~b~\nc", "hz-gb-2312"),
            "\xE5\xB7\xB1\xE6\x89\x80\xE4\xB8\x8D\xE6\xAC\xB2"
            "a~bc");
}

TEST(Charset, Utf16AndUtf32) {
  EXPECT_EQ(text_of(std::string_view("\xFF\xFE"
                                     "a\0\xE9\0",
                                     6),
                    "utf-16"),
            "a\xC3\xA9");
  EXPECT_EQ(text_of(std::string_view("\xFE\xFF\0a\0\xE9", 6), "utf-16"), "a\xC3\xA9");
  EXPECT_EQ(text_of(std::string_view("\0a\0b", 4), "utf-16"), "ab");
  EXPECT_EQ(text_of(std::string_view("a\0b\0", 4), "utf-16"), "ab");
  EXPECT_EQ(text_of(std::string_view("a\0b\0", 4), "utf-16le"), "ab");
  EXPECT_EQ(text_of(std::string_view("a\0\0\0b\0\0\0", 8), "utf-32"), "ab");
  const Utf8Text odd = to_utf8(std::string_view("a\0b", 3), "utf-16le");
  EXPECT_TRUE(odd.malformed);
  EXPECT_EQ(odd.text, "a" + std::string(bad));
  EXPECT_FALSE(to_utf8(std::string_view("a\0b", 3), "utf-16le", true).malformed);
}

TEST(Charset, Guesses) {
  EXPECT_EQ(text_of("caf\xC3\xA9", ""), "caf\xC3\xA9");
  EXPECT_EQ(text_of("caf\xC3\xA9", "us-ascii"), "caf\xC3\xA9");
  EXPECT_FALSE(to_utf8("caf\xC3\xA9", "us-ascii").malformed);
  EXPECT_EQ(text_of("caf\xE9", "us-ascii"), "caf\xC3\xA9");
  EXPECT_TRUE(to_utf8("caf\xE9", "us-ascii").malformed);
  EXPECT_EQ(text_of("\x1B$B$3\x1B(B", ""), "\xE3\x81\x93");
  EXPECT_TRUE(to_utf8("abc", "").charset_known);
  EXPECT_FALSE(to_utf8("abc", "x-unknown").charset_known);
  EXPECT_EQ(text_of("caf\xE9", "x-unknown"), "caf\xC3\xA9");
}

TEST(Charset, WesternLabelOnUtf8IsALie) {
  EXPECT_EQ(text_of("caf\xC3\xA9", "iso-8859-1"), "caf\xC3\xA9");
  EXPECT_EQ(text_of("caf\xC3\xA9", "iso-8859-15"), "caf\xC3\xA9");
  EXPECT_EQ(text_of("caf\xC3\xA9 \xE9", "windows-1252"), "caf\xC3\x83\xC2\xA9 \xC3\xA9");
}

TEST(Charset, MalformedSectionsAreReplaced) {
  const Utf8Text utf8 = to_utf8(
      "a\xFF"
      "b\xE2\x82",
      "utf-8");
  EXPECT_EQ(utf8.text, "a" + std::string(bad) + "b" + std::string(bad));
  EXPECT_TRUE(utf8.malformed);
  const Utf8Text gb = to_utf8("a\xFF\xC4\xE3", "gb2312");
  EXPECT_EQ(gb.text, "a" + std::string(bad) + "\xE4\xBD\xA0");
  EXPECT_TRUE(gb.malformed);
}

TEST(Charset, CutTextIsNotMalformed) {
  EXPECT_EQ(to_utf8("a\xE2\x82", "utf-8", true).text, "a");
  EXPECT_FALSE(to_utf8("a\xE2\x82", "utf-8", true).malformed);
  EXPECT_FALSE(to_utf8("a\xC4", "gb2312", true).malformed);
  EXPECT_TRUE(to_utf8("a\xC4", "gb2312", false).malformed);
  EXPECT_EQ(to_utf8("a\xE2\x82", "", true).text, "a");
}

TEST(Charset, ByteOrderMarkIsNoText) {
  EXPECT_EQ(text_of("\xEF\xBB\xBF"
                    "a",
                    "utf-8"),
            "a");
}

TEST(Charset, HostileTextIsBounded) {
  const Utf8Text text = to_utf8(std::string(2'000'000, '\xFF'), "gb18030");
  EXPECT_TRUE(text.malformed);
  EXPECT_LE(text.text.size(), 10'000u * bad.size());
}

TEST(Charset, Nfc) {
  EXPECT_EQ(to_nfc("e\xCC\x81"), "\xC3\xA9");
  EXPECT_EQ(to_nfc("plain"), "plain");
  EXPECT_EQ(to_nfc("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB"), "\xED\x95\x9C");
  EXPECT_EQ(to_nfc(""), "");
}

TEST(Charset, Utf8Prefix) {
  EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC"
                        "b",
                        5),
            "a\xE2\x82\xAC"
            "b");
  EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC"
                        "b",
                        4),
            "a\xE2\x82\xAC");
  EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC"
                        "b",
                        3),
            "a");
  EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC"
                        "b",
                        2),
            "a");
  EXPECT_EQ(utf8_prefix("a", 0), "");
}

}  // namespace
}  // namespace postern::mail

// Encoded words (RFC 2047) and folding (RFC 5322, 2.2.3), shared by the header forms.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace postern::mail {

// The value without NULs and folding, as valid UTF-8. A line end that isn't folding becomes a space.
std::string unfold(std::string_view raw);

struct EncodedWord {
  std::string_view charset;  // without the language of RFC 2231, 5
  char encoding = 'q';       // 'q' or 'b'
  std::string_view text;
  std::size_t length = 0;  // of the whole word
};
// The encoded word that `s` begins with, if it is syntactically correct and its charset is known.
std::optional<EncodedWord> match_encoded_word(std::string_view s);

// Puts decoded words and plain text together. White space between two encoded words is dropped, and octets of
// adjacent ones in the same charset are decoded as one text, since many mailers cut them inside a character.
class WordJoiner {
 public:
  void add_text(std::string_view text, std::string_view space_before);
  void add_word(const EncodedWord& word, std::string_view space_before);
  // The text in NFC.
  std::string finish();

 private:
  void flush();

  std::string out_;
  std::string charset_, octets_;  // of the encoded words since the last plain text
  bool after_word_ = false;
};

// Decodes unstructured text: an encoded word counts only where white space, or the text's end, is on both sides.
std::string decode_words(std::string_view unfolded);
// True if there is nothing but encoded words and white space in it.
bool is_encoded_words_only(std::string_view unfolded);

}  // namespace postern::mail

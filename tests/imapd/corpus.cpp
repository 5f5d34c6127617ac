// The generated messages of the test server; see Corpus in body.hpp. Everything follows from the number, so
// any two servers agree on what message 17 of a mailbox is.
#include "body.hpp"

#include <array>
#include <mutex>

#include <fmt/format.h>

namespace postern::testimapd {

namespace {

constexpr std::uint32_t families = 64;
constexpr std::uint32_t replies = 3;                // reply templates in a family
constexpr std::int64_t first_date = 1'420'070'400;  // 1 January 2015
constexpr std::int64_t interval_s = 3300;           // between two messages, on average

constexpr std::array<std::string_view, 12> first_names{"Alice",
                                                       "Bruno",
                                                       "Chiara",
                                                       "Dmitri",
                                                       "Eleni",
                                                       "Farid",
                                                       "Greta",
                                                       "Hiroshi",
                                                       "In\xC3\xAA"
                                                       "s",
                                                       "J\xC3\xBCrgen",
                                                       "Katja",
                                                       "Lars"};
constexpr std::array<std::string_view, 8> last_names{"Abbott",
                                                     "Borges",
                                                     "Conti",
                                                     "Dubois",
                                                     "Eriksen",
                                                     "Fischer",
                                                     "Garc\xC3\xAD"
                                                     "a",
                                                     "Haddad"};
constexpr std::array<std::string_view, 10> topics{"Quarterly report",
                                                  "Lunch on Thursday",
                                                  "Server maintenance",
                                                  "Invoice",
                                                  "Holiday plans",
                                                  "Meeting minutes",
                                                  "Draft contract",
                                                  "Gr\xC3\xBC\xC3\x9F"
                                                  "e aus K\xC3\xB6ln",
                                                  "Bug in the importer",
                                                  "R\xC3\xA9"
                                                  "union de lundi"};
constexpr std::string_view sentence =
    "The figures are attached, please have a look at them before we talk about it on the phone again.";

std::uint64_t mix(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15ULL;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9ULL;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBULL;
  return value ^ (value >> 31U);
}

std::string encoded(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return "=?utf-8?B?" + base64_encode(text) + "?=";
  return std::string(text);
}

std::string person(std::uint64_t seed) {
  auto first = first_names[seed % first_names.size()];
  auto last = last_names[seed / first_names.size() % last_names.size()];
  auto name = fmt::format("{} {}", first, last);
  auto coded = encoded(name);
  if (coded == name) coded = "\"" + name + "\"";
  return fmt::format("{} <person{}@mail{}.example>", coded, seed % 96, seed % 7);
}

std::string paragraphs(std::string_view topic, std::uint64_t count) {
  std::string out;
  for (std::uint64_t i = 0; i < count; ++i)
    fmt::format_to(std::back_inserter(out), "{} {}.\r\n{}\r\n\r\n", topic, i + 1, sentence);
  return out;
}

std::string base64_lines(std::uint64_t seed, std::size_t lines) {
  std::string bytes;
  for (std::size_t i = 0; i < lines * 57; ++i) bytes += static_cast<char>(mix(seed + i) & 0xFFU);
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 57)
    out += base64_encode(std::string_view(bytes).substr(i, 57)) + "\r\n";
  return out;
}

// Content headers and body, by kind: plain, alternative, with attachments, related inside mixed.
std::string content(std::uint64_t seed, std::string_view topic) {
  auto text = paragraphs(topic, 3 + seed % 12);
  auto plain = fmt::format(
      "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}", text);
  auto html = fmt::format(
      "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
      "<html><body><p>{}</p></body></html>\r\n",
      text);
  auto alternative = fmt::format(
      "Content-Type: multipart/alternative; boundary=\"alt-{0}\"\r\n\r\n"
      "--alt-{0}\r\n{1}\r\n--alt-{0}\r\n{2}\r\n--alt-{0}--\r\n",
      seed % 1000, plain, html);
  switch (seed % 8) {
    case 0:
    case 1:
    case 2: return plain;
    case 3:
    case 4:
    case 5: return alternative;
    case 6:
      return fmt::format(
          "Content-Type: multipart/mixed; boundary=\"mix-{0}\"\r\n\r\n"
          "--mix-{0}\r\n{1}\r\n--mix-{0}\r\n"
          "Content-Type: application/pdf; name=\"report-{0}.pdf\"\r\n"
          "Content-Disposition: attachment; filename=\"report-{0}.pdf\"\r\n"
          "Content-Transfer-Encoding: base64\r\n\r\n{2}--mix-{0}--\r\n",
          seed % 1000, alternative, base64_lines(seed, 100));
    default: return html;
  }
}

std::string template_text(std::uint32_t family, std::uint32_t reply) {
  auto seed = mix(family * 16 + reply);
  auto topic = topics[family % topics.size()];
  std::string out;
  auto line = [&](std::string_view name, std::string_view value) {
    fmt::format_to(std::back_inserter(out), "{}: {}\r\n", name, value);
  };
  line("Return-Path", fmt::format("<person{}@mail{}.example>", seed % 96, seed % 7));
  line("Received", fmt::format("from mail{}.example by mx.postern.example with ESMTPS id ~N~~~~~~;\r\n\t{}",
                               seed % 7, slot_date));
  line("Date", slot_date);
  line("From", person(seed));
  line("To", person(mix(seed)));
  if (seed % 5 == 0) line("Cc", person(mix(seed + 1)) + ",\r\n " + person(mix(seed + 2)));
  line("Subject", fmt::format("{}{} {}", reply > 0 ? "Re: " : "", encoded(topic), slot_root));
  line("Message-ID", fmt::format("<{}@postern.example>", slot_number));
  if (reply > 0) {
    line("In-Reply-To", fmt::format("<{}@postern.example>", slot_parent));
    line("References", fmt::format("<{}@postern.example>\r\n <{}@postern.example>", slot_root, slot_parent));
  }
  line("MIME-Version", "1.0");
  if (seed % 6 == 0) line("List-Id", "The list <list.postern.example>");
  return out + content(seed >> 8U, topic);
}

// How many numbers back the message is that this one answers; 0 when it starts a thread.
std::uint32_t distance_to_parent(std::uint32_t number) {
  auto local = number % numbers_per_mailbox;
  auto hash = mix(number);
  if (local <= 1 || hash % 3 == 0) return 0;
  return 1 + static_cast<std::uint32_t>((hash >> 8U) % std::min(local - 1, 8U));
}

std::uint32_t root_of(std::uint32_t number) {
  while (auto distance = distance_to_parent(number)) number -= distance;
  return number;
}

std::vector<std::shared_ptr<const Body>> all_bodies(const RenderOptions& options) {
  std::vector<std::shared_ptr<const Body>> bodies;
  for (std::uint32_t family = 0; family < families; ++family)
    for (std::uint32_t reply = 0; reply <= replies; ++reply)
      bodies.push_back(make_body(template_text(family, reply), true, options));
  return bodies;
}

}  // namespace

// Made once in a process for each way to render: a unit test program starts hundreds of servers.
Corpus::Corpus(const RenderOptions& options) {
  static std::array<std::once_flag, 4> made;
  static std::array<std::vector<std::shared_ptr<const Body>>, 4> kept;
  static_assert(sizeof(RenderOptions) == 2, "each of its flags must be in the key");
  auto which = (options.eight_bit_quoted ? 2u : 0u) + (options.nil_strings ? 1u : 0u);
  std::call_once(made[which], [&] { kept[which] = all_bodies(options); });
  bodies_ = &kept[which];
}

const std::shared_ptr<const Body>& Corpus::body_of(std::uint32_t number) const {
  auto family = mix(root_of(number)) % families;
  auto reply = distance_to_parent(number) == 0 ? 0 : 1 + (mix(number) >> 16U) % replies;
  return (*bodies_)[family * (replies + 1) + reply];
}

SlotValues Corpus::slots_of(std::uint32_t number) {
  auto sent = internal_date_of(number) - static_cast<std::int64_t>((mix(number) >> 16U) % 600);
  return {number, number - distance_to_parent(number), root_of(number), sent};
}

std::int64_t Corpus::internal_date_of(std::uint32_t number) {
  auto local = static_cast<std::int64_t>(number % numbers_per_mailbox);
  return first_date + local * interval_s + static_cast<std::int64_t>((mix(number) >> 24U) % (3 * interval_s));
}

}  // namespace postern::testimapd

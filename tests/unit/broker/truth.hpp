// Which messages the test IMAP server has, and where, to be compared with what a client is told.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "postern/jmap/json.hpp"

namespace postern::broker {

using Places = std::multiset<std::string>;  // mailboxes, by name

// A line for each message: its id, its mailboxes and keywords.
inline std::string lines_of(const std::map<std::string, std::set<std::string>>& lines) {
  std::string text;
  for (const auto& [id, words] : lines) {
    text += id;
    for (const auto& word : words) text += " " + word;
    text += "\n";
  }
  return text;
}

struct Truth {  // what is on the server
  struct Copy {
    std::string mailbox, id;  // the Message-ID
    bool deleted = false;
    std::set<std::string> keywords;
  };
  std::vector<Copy> copies;
  std::set<std::string> mailboxes;

  Places places(const std::string& id) const {
    Places all;
    for (const auto& copy : copies)
      if (copy.id == id && !copy.deleted) all.insert(copy.mailbox);
    return all;
  }
  std::set<std::string> keywords(const std::string& id) const {
    for (const auto& copy : copies)
      if (copy.id == id) return copy.keywords;
    return {};
  }

  // What the control verb `messages` has told.
  static Truth parse(const std::string& messages) {
    rapidjson::Document all;
    all.Parse(messages.c_str());
    Truth told;
    for (const auto& mailbox : all.GetObject()) {
      const std::string name = mailbox.name.GetString();
      told.mailboxes.insert(name);
      for (const auto& message : mailbox.value.GetArray()) {
        Truth::Copy copy{name, message["id"].GetString(), false, {}};
        const std::string flags = message["flags"].GetString();
        copy.deleted = flags.find("\\Deleted") != std::string::npos;
        for (const auto& [flag, keyword] :
             {std::pair("\\Seen", "$seen"), std::pair("\\Flagged", "$flagged"),
              std::pair("\\Draft", "$draft"), std::pair("\\Answered", "$answered")})
          if (flags.find(flag) != std::string::npos) copy.keywords.insert(keyword);
        told.copies.push_back(std::move(copy));
      }
    }
    return told;
  }
  std::string text() const {
    std::map<std::string, std::set<std::string>> lines;
    for (const auto& copy : copies) {
      if (copy.deleted) continue;
      lines[copy.id].insert(copy.mailbox);
      for (const auto& keyword : copy.keywords) lines[copy.id].insert(keyword);
    }
    return lines_of(lines);
  }
};

}  // namespace postern::broker

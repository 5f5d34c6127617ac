// What fetching messages is made of, whether their structure is known beforehand or not: the octets that are reserved,
// and the items of their sections. Private to the mail layer.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "postern/imap/types.hpp"
#include "postern/mail/mailbox_view.hpp"
#include "postern/mail/mailstore.hpp"

namespace postern::mail {

// Content of message parts that one call may hold at a time.
inline constexpr std::uint64_t fetch_octets_max = 64 * 1024 * 1024;

// Puts into the source what a FETCH response has brought of it.
void take_fetched(MessageSource& source, imap::FetchData& data);

// What is reserved for the header fields of that many messages; what came is counted.
std::uint64_t header_octets_expected(const FetchPlan& plan, std::size_t messages);
std::uint64_t header_octets(const std::map<std::uint32_t, MessageSource>& sources);
// What the sections of these messages may bring at most.
std::uint64_t content_octets_expected(const MailboxView& view, const std::vector<WantedSection>& sections,
                                      const imap::UidSet& uids,
                                      const std::map<std::uint32_t, MessageSource>& sources);

// The FETCH items of a message's sections, as many as a command line holds beside its UIDs.
struct SectionLine {
  std::string items = "UID";
  std::set<std::string, std::less<>> sections;
};
std::vector<SectionLine> lines_of(const std::vector<WantedSection>& sections);

}  // namespace postern::mail

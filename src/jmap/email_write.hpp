// Emails that are made: written from an Email object (Email/set create), or of a blob (Email/import). Private to the
// jmap layer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "jmap/blob_support.hpp"
#include "jmap/set_support.hpp"
#include "postern/jmap/email_create.hpp"
#include "postern/mail/mime/compose.hpp"

namespace postern::jmap {

// Files the Email, or says in the response why not.
io::Task<> create_email(CallContext& context, std::string_view creation_id, const rapidjson::Value& email,
                        SetResponse& response);

// Octets of one message, its blobs encoded as they come.
struct WrittenSource {
  std::vector<mail::MessageSegment> segments;
  std::vector<std::pair<std::string, ReadyBlob>> blobs;  // by BlobContent::blob_id
};
struct EmailToFile {
  EmailFiling filing;
  std::string header;
  WrittenSource source;
  std::uint64_t size = 0;
};
io::Task<> file_email(CallContext& context, std::string_view creation_id, EmailToFile email,
                      SetResponse& response);

// The oldState of a response, when these Emails have been changed and those of the response created.
std::string email_old_state(CallContext& context, const StateBeforeWrites& before,
                            std::vector<mail::EmailKey> changed, const SetResponse& response);

EmailCreateLimits create_limits(const CallContext& context);
mail::SetOutcome outcome_of(SetError error);
// Of a blob that can't be made ready.
mail::SetOutcome blob_error(const Error& error, std::string_view blob_id);

}  // namespace postern::jmap

// An EmailSubmission that is to be made (RFC 8621, 7.5): checked, its message written down without Bcc, and sent or set
// to wait. Private to the jmap layer.
#pragma once

#include "jmap/submission_envelope.hpp"

namespace postern::jmap {

struct CreatedSubmission {
  std::string id, email_id;
  std::string json;  // what the server has set
};

io::Task<std::expected<CreatedSubmission, Refusal>> create_submission(CallContext& context,
                                                                      const rapidjson::Value& object);

// Members of an EmailSubmission object.
inline constexpr auto submission_properties =
    std::to_array<std::string_view>({"id", "identityId", "emailId", "threadId", "envelope", "sendAt",
                                     "undoStatus", "deliveryStatus", "dsnBlobIds", "mdnBlobIds"});
void write_submission_property(JsonWriter& writer, std::string_view property,
                               const records::Submission& submission);
std::string_view undo_status_name(records::UndoStatus status);

}  // namespace postern::jmap

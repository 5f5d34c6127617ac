// What every /set shares (RFC 8620, 5.3): its arguments, and what became of each object as a response. Private to the
// jmap layer.
//
// Views into the arguments live as long as the method call.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "jmap/methods.hpp"

namespace postern::jmap {

// A SetError, as an outcome that isn't done.
mail::SetOutcome set_error(std::string type, std::string description = {},
                           std::vector<std::string> properties = {});
// What the person's plan doesn't allow now: rateLimit, or overQuota where room is what it lacks; told with the members
// that write_refusal() gives.
mail::SetOutcome set_error(const limits::Refusal& refusal);
// A method-level error of something that concerns one object alone.
mail::SetOutcome set_error(MethodError error);

struct SetArguments {
  std::optional<std::string_view> if_in_state;
  std::vector<std::pair<std::string_view, const rapidjson::Value*>> create, update;  // by (creation) id
  std::vector<std::string_view> destroy;                                             // each once
  bool destroys(std::string_view id) const;
};
// accountNotFound, invalidArguments, requestTooLarge (maxObjectsInSet). `more` are the names of arguments that only
// this /set has. Ids that begin with "#" have been replaced by those of what was created; one that names nothing
// created stays as it is, and is no Id of anything.
std::expected<SetArguments, MethodError> parse_set_arguments(
    const CallContext& context, const rapidjson::Value& arguments,
    std::initializer_list<std::string_view> more = {});

// The same for a type that belongs to no account and has no states (RFC 8620, 7.2).
std::expected<SetArguments, MethodError> parse_stateless_set_arguments(const CallContext& context,
                                                                       const rapidjson::Value& arguments);

// The outcomes, in the order in which they are told, and from them the response. Each object has one; `json` is what
// the server has set by itself: an object, or empty for null.
class SetResponse {
 public:
  explicit SetResponse(CallContext& context) : context_(context) {}

  // Makes "#creation_id" known to the rest of the request.
  void created(std::string_view creation_id, std::string_view id, std::string json);
  // `more` are members of the SetError that only its type has, as JSON ("maxSize", "1000").
  void not_created(std::string_view creation_id, mail::SetOutcome error,
                   std::vector<std::pair<std::string, std::string>> more = {});
  void updated(std::string_view id, mail::SetOutcome outcome, std::string json = {});
  void destroyed(std::string_view id, mail::SetOutcome outcome);

  // Of what was created.
  const std::vector<std::string>& created_ids() const { return created_ids_; }
  // Has something not been created because a limit or a quota is used up?
  bool lacked_room() const;

  // The response's arguments. Marks the call as one for which the IMAP server was missing if an outcome says so.
  std::string finish(std::string_view old_state, std::string_view new_state);
  // The same for a type that belongs to no account and has no states.
  std::string finish_stateless();
  // The same where things are only created (Email/import; Blob/upload, which has no states).
  std::string finish_created(std::string_view old_state, std::string_view new_state);

 private:
  struct Entry {
    std::string id;  // or the creation id
    mail::SetOutcome outcome;
    std::string json;
    std::vector<std::pair<std::string, std::string>> more = {};
  };
  enum class Form : std::uint8_t { object, list };
  void write(JsonWriter& writer, const std::vector<Entry>& entries, std::string_view done,
             std::string_view not_done, Form form);

  CallContext& context_;
  std::vector<Entry> created_, updated_, destroyed_;
  std::vector<std::string> created_ids_;
};

// The state in which a /set begins to write: what others have changed until then isn't its own. While it is alive it
// hears of the first write, as the method's hook of effects.
class StateBeforeWrites {
 public:
  // `state`: before anything has been looked at.
  StateBeforeWrites(CallContext& context, mail::StateType type, std::string state)
      : context_(context), type_(type), ask_(std::move(context.effects)), state_(std::move(state)) {
    context_.effects = [this] { return ask(); };
  }
  ~StateBeforeWrites() { context_.effects = std::move(ask_); }
  StateBeforeWrites(const StateBeforeWrites&) = delete;
  StateBeforeWrites& operator=(const StateBeforeWrites&) = delete;
  const std::string& state() const { return state_; }

 private:
  io::Task<bool> ask();

  CallContext& context_;
  const mail::StateType type_;
  mail::EffectsHook ask_;
  std::string state_;
  bool writes_ = false;
};

}  // namespace postern::jmap

// Opening a message of which a list has told the structure: header and content come by one command. Structures are kept
// among the fragments, within their budget; those of many parts aren't (shape_bytes_max).
#include <algorithm>

#include "mail/account_fetch.hpp"
#include "mail/account_support.hpp"
#include "postern/imap/limits.hpp"
#include "postern/mail/mime/body_parts.hpp"

namespace postern::mail {

namespace {

constexpr std::size_t shape_bytes_max = 16 * 1024;
constexpr std::size_t line_overhead_bytes = 100;  // tag, "UID FETCH", a UID

// What is reserved for the header fields of a message.
constexpr std::uint64_t header_fields_octets = 1'024, full_header_octets = 8'192;

std::size_t text_bytes(const std::string& text) { return text.capacity() > 15 ? text.capacity() + 1 : 0; }
std::size_t text_bytes(const imap::NString& text) { return text ? text_bytes(*text) : 0; }

std::size_t memory_of(const imap::BodyStructure& part) {
  std::size_t bytes =
      sizeof(part) + text_bytes(part.id) + text_bytes(part.description) + text_bytes(part.location);
  for (const auto* parameters : {&part.parameters, &part.disposition_parameters})
    for (const auto& [name, value] : *parameters)
      bytes += 2 * sizeof(std::string) + text_bytes(name) + text_bytes(value);
  for (const auto& language : part.languages) bytes += sizeof(std::string) + text_bytes(language);
  // An envelope is a few dozen strings.
  if (part.envelope) bytes += 2'048;
  for (const auto& inner : part.parts) bytes += memory_of(inner);
  return bytes;
}

FragmentCache::PlanKey shape_key() {
  static const auto key = FragmentCache::plan_key("shape");
  return key;
}

}  // namespace

std::uint64_t header_octets_expected(const FetchPlan& plan, std::size_t messages) {
  if (plan.full_header) return messages * full_header_octets;
  return plan.header_fields.empty() && !plan.thread ? 0 : messages * header_fields_octets;
}
std::uint64_t header_octets(const std::map<std::uint32_t, MessageSource>& sources) {
  std::uint64_t sum = 0;
  for (const auto& [uid, source] : sources) sum += source.header ? source.header->size() : 0;
  return sum;
}

std::uint64_t content_octets_expected(const MailboxView& view, const std::vector<WantedSection>& sections,
                                      const imap::UidSet& uids,
                                      const std::map<std::uint32_t, MessageSource>& sources) {
  std::uint64_t sum = 0;
  for (auto uid : uids.to_vector()) {
    const auto* entry = view.index().find(uid);
    const auto source = sources.find(uid);
    if (entry == nullptr || source == sources.end()) continue;
    const auto* structure = source->second.body_structure.get();
    auto root = structure != nullptr ? make_body_parts(*structure) : EmailBodyPart{};
    const PartIndex parts(root);
    std::uint64_t of_message = 0;
    for (const auto& wanted : sections) {
      const auto* part = parts.find(wanted.section);
      const bool told = part != nullptr && part->encoded_size > 0;
      const auto whole = told ? std::min<std::uint64_t>(part->encoded_size, entry->size) : entry->size;
      of_message += wanted.octets_max == 0 ? whole : std::min<std::uint64_t>(whole, wanted.octets_max);
    }
    sum += std::min<std::uint64_t>(of_message, entry->size);
  }
  return sum;
}

std::vector<SectionLine> lines_of(const std::vector<WantedSection>& sections) {
  constexpr std::size_t items_bytes_max = imap::command_line_bytes_max / 2 - 100;  // 100: tag, "UID FETCH"
  std::vector<SectionLine> lines(1);
  for (const auto& wanted : sections) {
    auto item = " BODY.PEEK[" + wanted.section + "]";
    if (wanted.octets_max != 0) item += "<0." + std::to_string(wanted.octets_max) + ">";
    if (lines.back().items.size() + item.size() > items_bytes_max && !lines.back().sections.empty())
      lines.emplace_back();
    lines.back().items += item;
    lines.back().sections.insert(wanted.section);
  }
  return lines;
}

void Account::keep_arrival(MailboxView& view, const FetchPlan& plan, MessageSource source) {
  const auto uid = source.place.uid;
  if (source.thread != 0) view.set_thread(uid, source.thread);
  if (source.body_structure) view.set_attachment(uid, has_attachment(*source.body_structure));
  auto shape = std::make_shared<MessageShape>();
  shape->body_structure = std::move(source.body_structure);
  shape->preview = std::move(source.preview);
  shape->header = std::move(source.header);
  shape->header_fields = plan.header_fields;
  put_shape(source.id, std::move(shape));
}

bool Account::take_known(const MailboxView& view, const FetchPlan& plan, std::uint32_t uid,
                         MessageSource& source) {
  const auto* entry = view.index().find(uid);
  if (entry == nullptr || !entry->is_known() || (plan.thread && entry->thread == 0) || plan.full_header)
    return false;
  const auto& fields = plan.header_fields;
  const bool preview = plan.preview && pool_->capabilities().has(imap::Capability::preview);
  if (!plan.body_structure && !preview && fields.empty()) return true;
  const auto kept = context_.fragments.find({key_, source.id, shape_key()});
  if (kept == nullptr) return false;
  const auto& shape = *kept->shape;
  const auto came = [&shape](const std::string& field) {
    return std::find(shape.header_fields.begin(), shape.header_fields.end(), field) !=
           shape.header_fields.end();
  };
  if ((plan.body_structure && !shape.body_structure) || (preview && !shape.preview) ||
      (!fields.empty() && (!shape.header || !std::all_of(fields.begin(), fields.end(), came))))
    return false;
  source.body_structure = shape.body_structure;
  if (plan.preview) source.preview = shape.preview;
  if (!fields.empty()) source.header = shape.header;
  return true;
}

bool Account::knows_structure(const EmailKey& id) const {
  const auto kept = context_.fragments.find({key_, id, shape_key()});
  return kept != nullptr && kept->shape->body_structure != nullptr;
}

void Account::keep_shape(const FetchPlan& plan, const MessageSource& source) {
  if (source.body_structure == nullptr) return;
  auto shape = std::make_shared<MessageShape>();
  shape->body_structure = source.body_structure;
  if (plan.preview) shape->preview = source.preview;
  put_shape(source.id, std::move(shape));
}

void Account::put_shape(const EmailKey& id, std::shared_ptr<MessageShape> shape) {
  shape->memory_bytes = sizeof(MessageShape) + text_bytes(shape->preview) + text_bytes(shape->header) +
                        (shape->body_structure ? memory_of(*shape->body_structure) : 0);
  for (const auto& field : shape->header_fields)
    shape->memory_bytes += sizeof(std::string) + text_bytes(field);
  if (shape->memory_bytes > shape_bytes_max) return;
  Fragment fragment;
  fragment.shape = std::move(shape);
  context_.fragments.put({key_, id, shape_key()}, std::make_shared<const Fragment>(std::move(fragment)));
}

// False: its structure isn't known, or what is wanted of it is too much for one command. Nothing has been sent then.
io::Task<Result<bool>> Account::fetch_known(ViewPtr view, const FetchPlan& plan,
                                            std::map<std::uint32_t, MessageSource>& sources,
                                            std::uint64_t& octets) {
  const auto uid = sources.begin()->first;
  auto& source = sources.begin()->second;
  const auto known = context_.fragments.find({key_, source.id, shape_key()});
  if (known == nullptr) co_return false;
  const auto shape = known->shape;
  if (plan.preview && !shape->preview && pool_->capabilities().has(imap::Capability::preview))
    co_return false;
  MessageSource as_known;
  as_known.id = source.id;
  as_known.place = source.place;
  as_known.body_structure = shape->body_structure;
  if (plan.preview) as_known.preview = shape->preview;
  const auto wanted = plan.more(as_known);
  const auto lines = lines_of(wanted);
  const bool own_header = std::any_of(wanted.begin(), wanted.end(),
                                      [](const WantedSection& one) { return is_header(one.section); });
  const std::map<std::uint32_t, MessageSource> one{{uid, as_known}};
  const auto content = content_octets_expected(*view, wanted, imap::UidSet(uid), one);
  if (wanted.empty() || lines.size() > 1 || own_header || content > fetch_octets_max - octets)
    co_return false;
  FetchPlan rest;
  rest.header_fields = plan.header_fields;
  rest.full_header = plan.full_header;
  rest.thread = plan.thread;
  const auto& line = lines.front();
  const auto items_bytes =
      first_items(rest, pool_->capabilities(), false, context_.options.join_by_identity).size() +
      line.items.size() + line_overhead_bytes;
  if (items_bytes > imap::command_line_bytes_max) co_return false;
  auto granted = grant_read(content + header_octets_expected(plan, 1), plan.tab.get());
  if (!granted) co_return fail(granted.error());
  source = std::move(as_known);
  std::uint64_t came = 0;
  auto fetched = co_await on_mailbox(view, [&](session::Lease& lease) -> io::Task<Result<>> {
    const auto* entry = view->index().find(uid);
    if (entry == nullptr) co_return Result<>{};  // gone meanwhile
    const bool thread_known = entry->thread != 0;
    source.header.reset();
    source.sections.clear();
    came = 0;
    imap::CommandBuilder fetch("UID FETCH", lease.capabilities());
    fetch.sp().set(imap::UidSet(uid));
    fetch.raw(" (" +
              first_items(rest, lease.capabilities(), thread_known, context_.options.join_by_identity) +
              line.items.substr(3) + ")");
    fetch.expect(content_fetch);
    co_return co_await run_fetch(lease, fetch, [&](imap::Response& response) {
      auto* answer = std::get_if<imap::FetchResponse>(&response);
      if (answer == nullptr || answer->data.uid != uid) return;
      if (plan.thread && !thread_known)
        if (auto thread = thread_of(answer->data, lease.capabilities(), source.id); thread != 0)
          view->set_thread(uid, thread);
      for (auto& section : answer->data.sections) {
        const bool again = std::any_of(source.sections.begin(), source.sections.end(),
                                       [&](const auto& had) { return had.first == section.section; });
        if (line.sections.contains(section.section) && !again) {
          source.sections.emplace_back(section.section, section.data.value_or(""));
          came += source.sections.back().second.size();
        } else if (is_header(section.section) && section.data) {
          source.header = std::move(*section.data);
        }
      }
    });
  });
  granted->settle(came + header_octets(sources));
  if (!fetched) co_return fail(fetched.error());
  octets += came;
  source.whole = source.sections.size() == line.sections.size();
  co_return true;
}

}  // namespace postern::mail

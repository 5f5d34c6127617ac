// The roles of RFC 8621 (those of RFC 6154 and RFC 8457): their names, attributes, and what mailboxes of such a use are
// called in several languages. No I/O, no state.
#include <glib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "postern/base/encoding.hpp"
#include "postern/mail/mailbox_list.hpp"

namespace postern::mail {
namespace {

// In lower case.
constexpr auto well_known_names = std::to_array<std::pair<std::string_view, Role>>({
    {"sent", Role::sent},
    {"sent items", Role::sent},
    {"sent mail", Role::sent},
    {"sent messages", Role::sent},
    {"gesendet", Role::sent},
    {"gesendete objekte", Role::sent},
    {"gesendete elemente", Role::sent},
    {"envoyés", Role::sent},
    {"éléments envoyés", Role::sent},
    {"enviados", Role::sent},
    {"elementos enviados", Role::sent},
    {"inviata", Role::sent},
    {"posta inviata", Role::sent},
    {"verzonden items", Role::sent},
    {"skickat", Role::sent},
    {"отправленные", Role::sent},
    {"wysłane", Role::sent},
    {"送信済み", Role::sent},
    {"已发送", Role::sent},
    {"sent mails", Role::sent},
    {"sent-mail", Role::sent},
    {"sent-items", Role::sent},
    {"sentmail", Role::sent},
    {"outbox sent", Role::sent},
    {"messages envoyés", Role::sent},
    {"courrier envoyé", Role::sent},
    {"correo enviado", Role::sent},
    {"mensajes enviados", Role::sent},
    {"itens enviados", Role::sent},
    {"e-mails enviados", Role::sent},
    {"messaggi inviati", Role::sent},
    {"inviati", Role::sent},
    {"verzonden", Role::sent},
    {"verzonden berichten", Role::sent},
    {"skickade", Role::sent},
    {"skickat mail", Role::sent},
    {"sendt", Role::sent},
    {"sendte elementer", Role::sent},
    {"sendt post", Role::sent},
    {"lähetetyt", Role::sent},
    {"elementy wysłane", Role::sent},
    {"odeslané", Role::sent},
    {"odeslaná pošta", Role::sent},
    {"odoslané", Role::sent},
    {"elküldött elemek", Role::sent},
    {"elküldött üzenetek", Role::sent},
    {"trimise", Role::sent},
    {"gönderilmiş öğeler", Role::sent},
    {"gönderilenler", Role::sent},
    {"gönderilmiş", Role::sent},
    {"απεσταλμένα", Role::sent},
    {"отправлено", Role::sent},
    {"надіслані", Role::sent},
    {"изпратени", Role::sent},
    {"送信済みメール", Role::sent},
    {"送信済みアイテム", Role::sent},
    {"已发送邮件", Role::sent},
    {"已傳送", Role::sent},
    {"寄件備份", Role::sent},
    {"보낸 편지함", Role::sent},
    {"보낸편지함", Role::sent},
    {"drafts", Role::drafts},
    {"entwürfe", Role::drafts},
    {"brouillons", Role::drafts},
    {"borradores", Role::drafts},
    {"bozze", Role::drafts},
    {"concepten", Role::drafts},
    {"черновики", Role::drafts},
    {"下書き", Role::drafts},
    {"草稿", Role::drafts},
    {"draft", Role::drafts},
    {"entwurf", Role::drafts},
    {"rascunhos", Role::drafts},
    {"borrador", Role::drafts},
    {"bozza", Role::drafts},
    {"klad", Role::drafts},
    {"utkast", Role::drafts},
    {"kladder", Role::drafts},
    {"luonnokset", Role::drafts},
    {"wersje robocze", Role::drafts},
    {"szkice", Role::drafts},
    {"koncepty", Role::drafts},
    {"rozepsané", Role::drafts},
    {"piszkozatok", Role::drafts},
    {"ciorne", Role::drafts},
    {"taslaklar", Role::drafts},
    {"πρόχειρα", Role::drafts},
    {"чернетки", Role::drafts},
    {"чернови", Role::drafts},
    {"草稿箱", Role::drafts},
    {"임시 보관함", Role::drafts},
    {"임시보관함", Role::drafts},
    {"trash", Role::trash},
    {"deleted items", Role::trash},
    {"deleted messages", Role::trash},
    {"papierkorb", Role::trash},
    {"gelöschte objekte", Role::trash},
    {"corbeille", Role::trash},
    {"papelera", Role::trash},
    {"cestino", Role::trash},
    {"удаленные", Role::trash},
    {"ごみ箱", Role::trash},
    {"deleted", Role::trash},
    {"bin", Role::trash},
    {"gelöscht", Role::trash},
    {"gelöschte elemente", Role::trash},
    {"gelöschte nachrichten", Role::trash},
    {"éléments supprimés", Role::trash},
    {"messages supprimés", Role::trash},
    {"elementos eliminados", Role::trash},
    {"mensajes eliminados", Role::trash},
    {"lixeira", Role::trash},
    {"lixo", Role::trash},
    {"itens excluídos", Role::trash},
    {"itens eliminados", Role::trash},
    {"posta eliminata", Role::trash},
    {"elementi eliminati", Role::trash},
    {"prullenbak", Role::trash},
    {"prullenmand", Role::trash},
    {"verwijderde items", Role::trash},
    {"papperskorgen", Role::trash},
    {"borttagna objekt", Role::trash},
    {"papirkurv", Role::trash},
    {"papirkurven", Role::trash},
    {"slettede elementer", Role::trash},
    {"slettet post", Role::trash},
    {"roskakori", Role::trash},
    {"poistetut", Role::trash},
    {"kosz", Role::trash},
    {"elementy usunięte", Role::trash},
    {"koš", Role::trash},
    {"odstraněná pošta", Role::trash},
    {"kôš", Role::trash},
    {"kuka", Role::trash},
    {"törölt elemek", Role::trash},
    {"lomtár", Role::trash},
    {"coș de gunoi", Role::trash},
    {"çöp kutusu", Role::trash},
    {"silinmiş öğeler", Role::trash},
    {"απορρίμματα", Role::trash},
    {"корзина", Role::trash},
    {"удалённые", Role::trash},
    {"кошик", Role::trash},
    {"кошче", Role::trash},
    {"削除済みアイテム", Role::trash},
    {"已删除", Role::trash},
    {"已删除邮件", Role::trash},
    {"废件箱", Role::trash},
    {"垃圾桶", Role::trash},
    {"휴지통", Role::trash},
    {"지운 편지함", Role::trash},
    {"junk", Role::junk},
    {"spam", Role::junk},
    {"junk e-mail", Role::junk},
    {"bulk mail", Role::junk},
    {"junk mail", Role::junk},
    {"junk email", Role::junk},
    {"junk-e-mail", Role::junk},
    {"spam-verdacht", Role::junk},
    {"spamverdacht", Role::junk},
    {"unerwünscht", Role::junk},
    {"courrier indésirable", Role::junk},
    {"indésirables", Role::junk},
    {"pourriel", Role::junk},
    {"correo no deseado", Role::junk},
    {"lixo eletrônico", Role::junk},
    {"lixo eletrónico", Role::junk},
    {"posta indesiderata", Role::junk},
    {"indesiderata", Role::junk},
    {"ongewenste e-mail", Role::junk},
    {"ongewenst", Role::junk},
    {"skräppost", Role::junk},
    {"søppelpost", Role::junk},
    {"uønsket post", Role::junk},
    {"roskaposti", Role::junk},
    {"wiadomości-śmieci", Role::junk},
    {"spamy", Role::junk},
    {"nevyžádaná pošta", Role::junk},
    {"nevyžiadaná pošta", Role::junk},
    {"levélszemét", Role::junk},
    {"gereksiz e-posta", Role::junk},
    {"gereksiz", Role::junk},
    {"ανεπιθύμητα", Role::junk},
    {"спам", Role::junk},
    {"нежелательная почта", Role::junk},
    {"небажана пошта", Role::junk},
    {"迷惑メール", Role::junk},
    {"垃圾邮件", Role::junk},
    {"垃圾郵件", Role::junk},
    {"스팸", Role::junk},
    {"스팸 편지함", Role::junk},
    {"archive", Role::archive},
    {"archiv", Role::archive},
    {"archives", Role::archive},
    {"archivo", Role::archive},
    {"archivio", Role::archive},
    {"arquivo", Role::archive},
    {"arquivados", Role::archive},
    {"archief", Role::archive},
    {"arkiv", Role::archive},
    {"arkisto", Role::archive},
    {"archiwum", Role::archive},
    {"archív", Role::archive},
    {"archívum", Role::archive},
    {"arhivă", Role::archive},
    {"arşiv", Role::archive},
    {"αρχείο", Role::archive},
    {"архив", Role::archive},
    {"архів", Role::archive},
    {"アーカイブ", Role::archive},
    {"归档", Role::archive},
    {"封存", Role::archive},
    {"보관함", Role::archive},
});

constexpr auto role_attributes = std::to_array<std::pair<Role, std::string_view>>({
    {Role::archive, "\\Archive"},
    {Role::drafts, "\\Drafts"},
    {Role::flagged, "\\Flagged"},
    {Role::important, "\\Important"},
    {Role::junk, "\\Junk"},
    {Role::sent, "\\Sent"},
    {Role::trash, "\\Trash"},
    {Role::all, "\\All"},
});

// A name that is longer is none of a table's.
constexpr std::size_t name_bytes_max = 64;

}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::none: return "";
    case Role::inbox: return "inbox";
    case Role::archive: return "archive";
    case Role::drafts: return "drafts";
    case Role::flagged: return "flagged";
    case Role::important: return "important";
    case Role::junk: return "junk";
    case Role::sent: return "sent";
    case Role::trash: return "trash";
    case Role::all: return "all";
    case Role::subscribed: return "subscribed";
  }
  return "";
}

std::optional<Role> role_of_text(std::string_view role) {
  for (int i = static_cast<int>(Role::inbox); i <= static_cast<int>(Role::subscribed); ++i)
    if (to_string(static_cast<Role>(i)) == role) return static_cast<Role>(i);
  return std::nullopt;
}

std::string_view special_use_of(Role role) {
  for (const auto& [known, attribute] : role_attributes)
    if (known == role) return attribute;
  return {};
}

std::string folded_mailbox_name(std::string_view utf8) {
  const std::string text = sanitize_utf8(utf8);
  std::unique_ptr<gchar, decltype(&g_free)> folded(
      g_utf8_casefold(text.data(), static_cast<gssize>(text.size())), &g_free);
  std::unique_ptr<gchar, decltype(&g_free)> composed(g_utf8_normalize(folded.get(), -1, G_NORMALIZE_NFC),
                                                     &g_free);
  return composed ? std::string(composed.get()) : text;
}

Role role_of_name(std::string_view utf8_name) {
  if (utf8_name.size() > name_bytes_max || !is_valid_utf8(utf8_name)) return Role::none;
  const auto name = is_ascii(utf8_name) ? ascii_lower(utf8_name) : folded_mailbox_name(utf8_name);
  const auto found = std::find_if(well_known_names.begin(), well_known_names.end(),
                                  [&](const auto& known) { return known.first == name; });
  return found == well_known_names.end() ? Role::none : found->second;
}

}  // namespace postern::mail

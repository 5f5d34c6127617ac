"""Figures of the warm page: through nginx and Apache beside echo programs, what its view takes in memory; and the
cold page beside bare IMAP commands, and both beside a full IMAPS cycle."""

import time

from .imap import Imap, full_cycle, trusting
from .load import in_turns, median, median_ratio
from .site import PAGE_MESSAGES, Account
from .table import AT_LEAST, AT_MOST, Aim, Row, duration, number, rate

PRODUCT = "warm page"
CONNECTIONS = 16
CYCLE_AIMS = {1_000: 50, 10_000: 100, 100_000: 500}
VIEW_MESSAGES = 10_000
COLD_SIZES = (1_000, 10_000)


def _throughput_and_latency(part, loads, options, with_aims):
    """Rows of the first load beside the others, under load and alone."""
    loaded = in_turns({load.name: lambda load=load: load.run(CONNECTIONS, options.turn_s) for load in loads},
                      options.rounds)
    many = {name: [sample.per_second for sample in samples] for name, samples in loaded.items()}
    work = {name: [sample.processor_s for sample in samples] for name, samples in loaded.items()}
    alone = in_turns({load.name: lambda load=load: load.run(1, options.turn_s).median_s for load in loads},
                     options.rounds)
    product = loads[0].name
    for load in loads[1:]:
        aims = load.name == "echo broker" and with_aims
        yield Row(part, f"{product}, {CONNECTIONS} connections", rate(median(many[product])),
                  f"{rate(median(many[load.name]))} {load.name}", median_ratio(many[product], many[load.name]), "x",
                  Aim(AT_LEAST, 0.5, "x") if aims else None)
        yield Row(part, f"{product}, alone, median", duration(median(alone[product])),
                  f"{duration(median(alone[load.name]))} {load.name}", median_ratio(alone[product], alone[load.name]),
                  "x", Aim(AT_MOST, 2, "x") if aims else None)
        yield Row(part, f"{product}, processor time a request", duration(median(work[product])),
                  f"{duration(median(work[load.name]))} {load.name}", median_ratio(work[product], work[load.name]), "x")


def nginx(site, options):
    account = site.account(1_000)
    floors = site.nginx_floors(len(account.body))
    loads = [account.load(PRODUCT, site.nginx.url)]
    loads += [account.load(name, url) for name, url in floors.items()]
    yield from _throughput_and_latency("nginx", loads, options, True)
    yield Row("nginx", "the page's size", f"{number(len(account.body) / 1024)} KB",
              f"{PAGE_MESSAGES} of 1,000 messages")


def apache(site, options):
    account = site.account(1_000)
    loads = [account.load(PRODUCT, site.apache())]
    loads += [account.load(name, url) for name, url in site.apache_floors(len(account.body)).items()]
    for load in loads:
        load.run(2 * CONNECTIONS, 3)  # mod_fcgid starts its processes one after the other
    yield from _throughput_and_latency("apache", loads, options, True)
    through_nginx = account.load("through nginx", site.nginx.url)
    yield from _throughput_and_latency("apache", [loads[0], through_nginx], options, False)


def cycle(site, options):
    """The warm page beside connecting, signing in, selecting, sorting, fetching and signing out, over TLS."""
    context = trusting(site.pki.ca)
    contenders = {}
    for size in options.sizes:
        user = site.mailbox(size)
        account = site.account(size)
        load = account.load(f"warm-{size}", site.nginx.url)

        def one_cycle(user=user):
            begin = time.perf_counter()
            full_cycle(site.imap_address, context, user, site.dovecot.password, PAGE_MESSAGES)
            return time.perf_counter() - begin

        one_cycle()
        contenders["page", size] = lambda load=load: load.run(1, 1).median_s
        contenders["cycle", size] = lambda one_cycle=one_cycle: median([one_cycle() for _ in range(options.repeats)])
    figures = in_turns(contenders, options.rounds)
    for size in options.sizes:
        page, imap = figures["page", size], figures["cycle", size]
        yield Row("cycle", f"warm page of {size:,}, how much faster", duration(median(page)),
                  f"{duration(median(imap))} full IMAPS cycle", median_ratio(imap, page), "x",
                  Aim(AT_LEAST, CYCLE_AIMS[size], "x"))
    small, large = options.sizes[0], options.sizes[-1]
    yield Row("cycle", f"warm page of {large:,}", duration(median(figures["page", large])),
              f"{duration(median(figures['page', small]))} of {small:,}",
              median_ratio(figures["page", large], figures["page", small]), "x", Aim(AT_MOST, 1.2, "x"))


def cold(site, options):
    """The first page of a mailbox that nothing is known of, on an account that is connected; beside the same commands
    by hand, on a connection that has enabled QRESYNC (with which Dovecot's SELECT takes longer) and asked for the list
    of mailboxes, as the account has."""
    context = trusting(site.pki.ca)
    for size in COLD_SIZES:
        full_cycle(site.imap_address, context, site.mailbox(size), site.dovecot.password, PAGE_MESSAGES)
        turns = iter(range(10_000))

        def by_hand(size=size, turns=turns):
            client = Imap(site.imap_address, context)
            client.login(site.second_user(size, next(turns)), site.dovecot.password)
            client.commands("ENABLE QRESYNC")
            client.commands('LIST "" "*" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY HIGHESTMODSEQ))')
            begin = time.perf_counter()
            client.commands("SELECT INBOX")
            client.page(client.newest_of_all(PAGE_MESSAGES))
            seconds = time.perf_counter() - begin
            client.commands("LOGOUT")
            client.close()
            return seconds

        def by_postern(size=size, turns=turns):
            account = Account(site, site.second_user(size, next(turns)))
            seconds, _ = account.page()
            account.settle()  # an account that is still filling its index outlives the session
            account.sign_out()
            return seconds

        figures = in_turns({"cold": by_postern, "bare": by_hand}, options.cold_rounds)
        yield Row("cold", f"cold page of {size:,}", duration(median(figures["cold"])),
                  f"{duration(median(figures['bare']))} bare SELECT, SORT, SEARCH, FETCH",
                  median(figures["cold"]) / median(figures["bare"]), "x", Aim(AT_MOST, 1.2, "x"))


def view(site, options):
    """What a warm view takes in memory; its page's fragments are counted by themselves."""
    del options
    account = site.account(VIEW_MESSAGES)
    state = account.state()
    cache = site.postern.control("status")["cache"]
    yield Row("view", f"warm view of {VIEW_MESSAGES:,}, octets a message", f"{number(state['viewBytes'] / 1024)} KB",
              f"{cache['fragments']:,} fragments: {number(cache['fragmentBytes'] / 1024)} KB",
              state["viewBytes"] / VIEW_MESSAGES, " B", Aim(AT_MOST, 64, " B"))

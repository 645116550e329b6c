"""Real mail: Postfix takes it (plain, submission with STARTTLS and login, SMTPS), Dovecot gives it back over IMAP."""

import imaplib
import os
import shutil
import subprocess
import time
from pathlib import Path

from angelia_testing.peers.process import Server, free_port, missing, scratch

DOMAIN = "test.example"
PASSWORD = "secret"
PEOPLE = ("alice", "bob", "carol", "grey", "full", "box")
FAILING = {"gone": "550 5.1.1 no such user", "brim": "552 5.2.2 mailbox full"}
"""Taken, and then returned to the sender by a report."""

_MAIN = """
compatibility_level = 3.6
queue_directory = @/spool
data_directory = @/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.test.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
smtpd_relay_restrictions = permit_mynetworks, reject
disable_dns_lookups = yes
smtp_host_lookup = native
recipient_delimiter = +
transport_maps = texthash:@/etc/transport
virtual_mailbox_domains = test.example
virtual_mailbox_maps = texthash:@/etc/mailboxes
virtual_mailbox_base = @/mail
virtual_uid_maps = static:8
virtual_gid_maps = static:8
virtual_minimum_uid = 8
maillog_file = @/postfix.log
maillog_file_prefixes = /var, /tmp
multi_instance_enable = no
in_flow_delay = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_tls_cert_file = @/tls/server.crt
smtpd_tls_key_file = @/tls/server.key
smtpd_tls_security_level = may
smtpd_recipient_restrictions = check_recipient_access texthash:@/etc/access, permit_mynetworks, reject
"""
_SERVICES = """
127.0.0.1:%(plain)d inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
lmtp      unix - - n - - lmtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
127.0.0.1:%(submission)d inet n - n - - smtpd -o smtpd_tls_security_level=encrypt %(login)s
127.0.0.1:%(far)d inet n - n - - smtpd -o myhostname=far.test.example -o smtpd_recipient_restrictions=check_recipient_access,texthash:@/etc/failing
127.0.0.1:%(smtps)d inet n - n - - smtpd -o smtpd_tls_wrappermode=yes %(login)s
"""
_LOGIN = (
    "-o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=inet:127.0.0.1:%d "
    "-o smtpd_client_restrictions=permit_sasl_authenticated,reject"
)
_DOVECOT = """
protocols = imap
listen = 127.0.0.1
base_dir = @/run
state_dir = @/run
instance_name = angelia-test
log_path = @/dovecot.log
ssl = yes
ssl_cert = <@/tls/server.crt
ssl_key = <@/tls/server.key
disable_plaintext_auth = no
mail_location = maildir:@/mail/%%n/Maildir
mail_uid = 8
mail_gid = 8
first_valid_uid = 8
mail_home = @/mail/%%n
default_internal_user = dovecot
default_login_user = dovenull
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=8 gid=8 home=@/mail/%%n
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = %(imap)d
  }
  inet_listener imaps {
    address = 127.0.0.1
    port = %(imaps)d
    ssl = yes
  }
}
service stats {
  chroot =
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = %(auth)d
  }
}
"""


class MailServer:
    """Postfix and Dovecot together; `grey@` is refused for now (451), `full@` for good (552), others unknown (550).

    Reports for senders `bounce+...@` and mail to `answer+...@` are brought by LMTP to the port `lmtp`, where a test may listen; `box+...@` is an
    ordinary mailbox. `gone@` and `brim@` are taken, and then returned.
    """

    def __init__(self) -> None:
        for program in ("/usr/sbin/postfix", "/usr/sbin/dovecot"):
            if not Path(program).exists():
                missing(Path(program).name)
        if os.geteuid() != 0:
            missing("a Postfix of our own (it needs root)")
        self.folder = scratch("mail", on_disk=True)  # Postfix takes no queue in memory
        self.plain, self.submission, self.smtps, self.imap, self.imaps, self.lmtp, self.far, auth = (free_port() for _ in range(8))
        self._write(auth)
        self._dovecot = self._start_dovecot()
        self._postfix = self._start_postfix()

    @property
    def ca_file(self) -> str:
        """What a client has to trust."""
        return str(self.folder / "tls" / "ca.crt")

    def _start_dovecot(self) -> Server:
        return Server("dovecot", ["/usr/sbin/dovecot", "-F", "-c", str(self.folder / "dovecot.conf")], [self.imap, self.imaps], self.folder)

    def _start_postfix(self) -> Server:
        argv = ["/usr/sbin/postfix", "-c", str(self.folder / "etc"), "start-fg"]
        return Server("postfix", argv, [self.plain, self.submission, self.smtps], self.folder)

    def _write(self, auth: int) -> None:
        folder = self.folder
        for name in ("etc", "spool", "data", "mail", "run", "tls"):
            (folder / name).mkdir(mode=0o755)
        shutil.chown(folder / "data", "postfix")
        shutil.chown(folder / "mail", 8, 8)
        ports = {
            "plain": self.plain,
            "submission": self.submission,
            "smtps": self.smtps,
            "imap": self.imap,
            "imaps": self.imaps,
            "far": self.far,
            "auth": auth,
        }
        (folder / "etc/main.cf").write_text(_MAIN.replace("@", str(folder)))
        (folder / "etc/master.cf").write_text((_SERVICES.lstrip() % (ports | {"login": _LOGIN % auth})).replace("@", str(folder)))
        known = (*PEOPLE, *FAILING, "bounce", "answer")
        (folder / "etc/mailboxes").write_text("".join(f"{login}@{DOMAIN} {login}/Maildir/\n" for login in known))
        (folder / "etc/failing").write_text("".join(f"{login}@{DOMAIN} {why}\n" for login, why in FAILING.items()))
        roads = dict.fromkeys(FAILING, f"smtp:[127.0.0.1]:{self.far}") | dict.fromkeys(("bounce", "answer"), f"lmtp:inet:127.0.0.1:{self.lmtp}")
        (folder / "etc/transport").write_text("".join(f"{login}@{DOMAIN} {road}\n" for login, road in roads.items()))
        self._write_access(is_grey=True)
        (folder / "dovecot.conf").write_text((_DOVECOT % ports).replace("@", str(folder)))
        self._certificates(folder / "tls")
        subprocess.run(["/usr/sbin/postfix", "-c", str(folder / "etc"), "check"], check=True, capture_output=True)

    def _write_access(self, *, is_grey: bool) -> None:
        grey = f"grey@{DOMAIN} 451 4.7.1 greylisted, try again\n"
        (self.folder / "etc/access").write_text(f"{grey if is_grey else ''}full@{DOMAIN} 552 5.2.2 mailbox full\n")

    def set_grey(self, *, is_grey: bool) -> None:
        """Whether `grey@` is refused for now, on connections that are made a little later."""
        self._write_access(is_grey=is_grey)
        subprocess.run(["/usr/sbin/postfix", "-c", str(self.folder / "etc"), "reload"], check=True, capture_output=True)

    def _certificates(self, folder: Path) -> None:
        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

        subject = ["-subj", "/CN=Angelia test CA"]
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", *subject)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        openssl("x509", "-req", "-in", "server.csr", "-out", "server.crt", *signed)

    def fetch(self, login: str, folder: str = "INBOX") -> list[bytes]:
        """All mails of a mailbox, over IMAP; none where there is no such folder."""
        box = imaplib.IMAP4("127.0.0.1", self.imap)
        box.login(f"{login}@{DOMAIN}", PASSWORD)
        if box.select(f'"{folder}"', readonly=True)[0] != "OK":
            box.logout()
            return []
        _, found = box.search(None, "ALL")
        mails = []
        for number in found[0].split():
            _, data = box.fetch(number, "(BODY.PEEK[])")
            mails.append(data[0][1])  # type: ignore[index]
        box.logout()
        return mails  # type: ignore[return-value]

    def wait_for(self, login: str, count: int, seconds: float = 30.0, folder: str = "INBOX") -> list[bytes]:
        """Until so many are there."""
        deadline = time.monotonic() + seconds
        while len(mails := self.fetch(login, folder)) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(mails)} of {count} mails came for {login}")
            time.sleep(0.05)
        return mails

    def empty(self) -> None:
        """Forget all mail."""
        for login in PEOPLE:
            shutil.rmtree(self.folder / "mail" / login, ignore_errors=True)

    def restart_mailboxes(self) -> None:
        """Whoever reads one is cut off."""
        self._dovecot.stop()
        self._dovecot = self._start_dovecot()

    def pause(self) -> None:
        """Stop taking mail."""
        self._postfix.stop()

    def resume(self) -> None:
        """Take mail again."""
        self._postfix = self._start_postfix()

    def stop(self) -> None:
        """Stop both and forget."""
        self._postfix.stop()
        self._dovecot.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

"""A mail server that prints each message that it takes as a line of JSON.

usage: server.py CERTIFICATE KEY

It wants STARTTLS, and the user "alerts" with the password "MailPassw0rd". The first line is its port.
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import AuthResult, SMTP


class Handler:
    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        attachment = next(message.iter_attachments())
        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "id": message["Message-ID"],
            "subject": message["Subject"],
            "text": message.get_body(("plain",)).get_content(),
            "json": json.loads(attachment.get_content()),
            "user": session.auth_data.decode(),
        }), flush=True)
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"alerts" and data.password == b"MailPassw0rd"
    return AuthResult(success=good, handled=good, auth_data=data.login)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(Handler(), tls_context=context, require_starttls=True, auth_required=True,
                     authenticator=authenticate, enable_SMTPUTF8=True, loop=loop),
        "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())

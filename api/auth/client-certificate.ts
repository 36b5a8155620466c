/** Refuses requests without a client certificate that an authority in `TENURE_TLS_CLIENT_CA` has signed. */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { DomainError } from '../../domain/errors.ts'

/** Whether the client of a connection has presented a trusted certificate, or none is required. */
export type CertificateCheck = (socket: Socket) => boolean

/** Paths that need no certificate: health checks have none, and rollback orders of other replicas are signed. */
const openPaths = ['/livez', '/readyz', '/v1/rollback-orders']

/** Returns the check; it accepts every connection where the server requires no certificate. */
export const createCertificateCheck =
  (isAsked: boolean): CertificateCheck =>
  (socket) =>
    !isAsked || (socket instanceof TLSSocket && socket.authorized)

/** Throws `client_certificate_required` unless the connection has a trusted certificate or the path needs none. */
export function requireCertificate({ socket, url = '' }: IncomingMessage, hasShown: CertificateCheck): void {
  if (hasShown(socket) || openPaths.includes(url.split('?')[0]!)) return
  const { authorizationError } = socket as TLSSocket
  throw new DomainError(
    'client_certificate_required',
    `the request comes without a certificate that is trusted here${authorizationError ? ` (${String(authorizationError)})` : ''}`,
  )
}

/** Refuses requests without the certificate that the authorities of callers must have signed (`TENURE_TLS_CLIENT_CA`). */
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { DomainError } from '../../domain/errors.ts'

/** Whether the caller of a connection has shown what the server asks for. */
export type CertificateCheck = (socket: Socket) => boolean

/** Health checks, which have no certificate, and orders of other replicas, which are signed. */
const openPaths = ['/livez', '/readyz', '/v1/rollback-orders']

/** Accepts every connection where the server does not ask. */
export const createCertificateCheck =
  (isAsked: boolean): CertificateCheck =>
  (socket) =>
    !isAsked || (socket instanceof TLSSocket && socket.authorized)

/** Throws `client_certificate_required`. */
export function requireCertificate({ socket, url = '' }: IncomingMessage, hasShown: CertificateCheck): void {
  if (hasShown(socket) || openPaths.includes(url.split('?')[0]!)) return
  const { authorizationError } = socket as TLSSocket
  throw new DomainError(
    'client_certificate_required',
    `the request comes without a certificate that is trusted here${authorizationError ? ` (${String(authorizationError)})` : ''}`,
  )
}

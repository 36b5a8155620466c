/** Creates the TLS credentials of the gRPC server from the certificate of the API. */
import { experimental, ServerCredentials } from '@grpc/grpc-js'
import type { CertificateWatch, ServerCertificate } from '../../store/tls/certificate.ts'

/**
 * Returns credentials that follow a renewed certificate; without TLS, none. Where client certificates are required, the handshake refuses a
 * client without one.
 */
export function credentialsOf(certificate: CertificateWatch | undefined): ServerCredentials {
  if (certificate === undefined) return ServerCredentials.createInsecure()
  const follow = (use: (from: ServerCertificate) => void): void => {
    // The server adds its own listener only after this call.
    queueMicrotask(() => use(certificate.current()))
    certificate.subscribe(use)
  }
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener: (listener) =>
      follow(({ cert, key }) => listener({ certificate: cert, privateKey: key })),
    addCaCertificateListener: (listener) => follow(({ ca }) => listener(ca ? { caCertificate: ca } : null)),
    // The server keeps its credentials until it ends, so there is nothing to remove.
    removeIdentityCertificateListener: () => {},
    removeCaCertificateListener: () => {},
  }
  const isAsked = certificate.current().ca !== undefined
  return experimental.createCertificateProviderServerCredentials(provider, isAsked ? provider : null, isAsked)
}

/** The encryption of gRPC, with the certificate of the API. */
import { experimental, ServerCredentials } from '@grpc/grpc-js'
import type { CertificateWatch, ServerCertificate } from '../../store/tls/certificate.ts'

/** Follows a renewed certificate. Here a caller without one is refused by the handshake, where it is asked for one. */
export function credentialsOf(certificate: CertificateWatch | undefined): ServerCredentials {
  if (certificate === undefined) return ServerCredentials.createInsecure()
  const follow = (use: (from: ServerCertificate) => void): void => {
    // The server adds its own listener only after it has asked.
    queueMicrotask(() => use(certificate.current()))
    certificate.subscribe(use)
  }
  const provider: experimental.CertificateProvider = {
    addIdentityCertificateListener: (listener) =>
      follow(({ cert, key }) => listener({ certificate: cert, privateKey: key })),
    addCaCertificateListener: (listener) => follow(({ ca }) => listener(ca ? { caCertificate: ca } : null)),
    // The server keeps its credentials until it ends.
    removeIdentityCertificateListener: () => {},
    removeCaCertificateListener: () => {},
  }
  const isAsked = certificate.current().ca !== undefined
  return experimental.createCertificateProviderServerCredentials(provider, isAsked ? provider : null, isAsked)
}

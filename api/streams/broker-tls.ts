/** Reads the TLS certificates for the connection to a message broker. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { z } from 'zod'

const file = z.string().min(1)

/** `true` trusts the certificate authorities of the system. Paths are relative to the file of streams. */
export const brokerTls = z.union(
  [
    z.boolean(),
    z
      .strictObject({ ca: file.optional(), cert: file.optional(), key: file.optional() })
      .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
        error: 'has cert and key together, or neither',
      }),
  ],
  { error: 'is true, or an object with ca, cert and key' },
)

export interface BrokerCertificates {
  /** The trusted authorities, instead of those of the system. */
  ca?: string
  /** The client certificate that identifies this process to the broker. */
  cert?: string
  key?: string
}

/** Reads the files; undefined for a connection without TLS. Throws for files that cannot be read or do not belong together. */
export function readBrokerTls(
  tls: z.infer<typeof brokerTls>,
  streamsFile: string,
): BrokerCertificates | undefined {
  if (tls === false) return undefined
  if (tls === true) return {}
  const read = (name: keyof BrokerCertificates, check: (pem: string) => unknown) => {
    const path = tls[name]
    if (path === undefined) return {}
    try {
      const pem = readFileSync(resolve(dirname(streamsFile), path), 'utf8')
      check(pem)
      return { [name]: pem }
    } catch (error) {
      throw new Error(`tls.${name}: ${path}: ${(error as Error).message}`, { cause: error })
    }
  }
  const certificates: BrokerCertificates = {
    ...read('ca', (pem) => new X509Certificate(pem)),
    ...read('cert', (pem) => new X509Certificate(pem)),
    ...read('key', (pem) => createPrivateKey(pem)),
  }
  const { cert, key } = certificates
  if (cert !== undefined && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key!)))
    throw new Error(`tls.key: the key in ${tls.key} does not belong to the first certificate in ${tls.cert}`)
  return certificates
}

/** Makes the certificates of a message broker and of its clients. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BrokerCertificates } from '../../../api/streams/settings.ts'
import { createAuthority } from '../signing/certificates.ts'

export interface TestTls {
  /** Paths of `ca`, `cert` and `key`, as the streams file names them. */
  files: Required<BrokerCertificates>
  /** Certificates of a client with a certificate, and of a client without. */
  client: BrokerCertificates
  bare: BrokerCertificates
  /** A client that trusts another authority. */
  stranger: BrokerCertificates
  /** A client that trusts the broker's authority, but has a certificate of another authority. */
  unknown: BrokerCertificates
}

/** Writes the certificates. The broker's are `broker.pem` and `broker.key`, and both together in `broker.both.pem`. */
export function testTls(directory: string): TestTls {
  const authority = createAuthority(directory)
  const broker = authority.issue('broker')
  writeFileSync(
    join(directory, 'broker.both.pem'),
    `${readFileSync(broker.key, 'utf8')}${readFileSync(broker.cert, 'utf8')}`,
  )
  const files = { ca: authority.ca, ...authority.issue('client') }
  const other = createAuthority(directory, 'other')
  const unknown = other.issue('unknown')
  const [ca, cert, key] = [files.ca, files.cert, files.key].map((file) => readFileSync(file, 'utf8'))
  return {
    files,
    client: { ca: ca!, cert: cert!, key: key! },
    bare: { ca: ca! },
    stranger: { ca: readFileSync(other.ca, 'utf8') },
    unknown: { ca: ca!, cert: readFileSync(unknown.cert, 'utf8'), key: readFileSync(unknown.key, 'utf8') },
  }
}

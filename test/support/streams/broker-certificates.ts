/** Certificates of a message broker and of its clients. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BrokerCertificates } from '../../../api/streams/broker-tls.ts'
import { createAuthority } from '../signing/certificates.ts'

export interface TestTls {
  /** The paths of `ca`, `cert` and `key`, as the file of streams names them. */
  files: Required<BrokerCertificates>
  /** What a client with a certificate is given, and what one without. */
  client: BrokerCertificates
  bare: BrokerCertificates
  /** Trusts another authority. */
  stranger: BrokerCertificates
  /** Trusts the authority of the broker, with a certificate of another one. */
  unknown: BrokerCertificates
}

/** Those of the server are `broker.pem` and `broker.key` in the directory, and both in `broker.both.pem`. */
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

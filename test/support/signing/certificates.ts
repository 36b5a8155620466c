/** Makes authorities and certificates with OpenSSL, as the documentation does. */
import { execFileSync } from 'node:child_process'
import { appendFileSync, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface IssuedCertificate {
  cert: string
  key: string
}

export interface CertificateAuthority {
  /** Path of the authority's certificate. */
  ca: string
  /** Issues a certificate for `names` such as `IP:127.0.0.1`, in the files `<file>.pem` and `<file>.key`. One of -1 days has expired. */
  issue(file: string, names?: string, days?: number): IssuedCertificate
}

const openssl = (directory: string, ...args: string[]): void =>
  void execFileSync('openssl', args, { cwd: directory, stdio: 'pipe' })

const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'] as const

export function createAuthority(directory: string, name = 'ca'): CertificateAuthority {
  const subject = ['-subj', `/CN=${name} of the tests`]
  openssl(
    directory,
    'req',
    '-x509',
    ...curve,
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
    '-days',
    '30',
    ...subject,
  )
  const ca = join(directory, `${name}.pem`)
  return {
    ca,
    issue(file, names = 'IP:127.0.0.1,DNS:localhost', days = 20) {
      openssl(
        directory,
        'req',
        ...curve,
        '-keyout',
        `${file}.key`,
        '-out',
        `${file}.csr`,
        '-subj',
        `/CN=${file}`,
      )
      writeFileSync(
        join(directory, `${file}.ext`),
        `subjectAltName=${names}\nextendedKeyUsage=serverAuth,clientAuth\n`,
      )
      const by = ['-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-CAcreateserial', '-days', String(days)]
      const as = ['-in', `${file}.csr`, '-extfile', `${file}.ext`, '-out', `${file}.pem`]
      openssl(directory, 'x509', '-req', ...by, ...as)
      return { cert: join(directory, `${file}.pem`), key: join(directory, `${file}.key`) }
    },
  }
}

/** Replaces a certificate that is in use. Writes the key first, so that key and certificate briefly do not match. */
export function replaceCertificate(used: IssuedCertificate, fresh: IssuedCertificate): void {
  copyFileSync(fresh.key, used.key)
  copyFileSync(fresh.cert, used.cert)
  // A file of the same size within the same millisecond would look unchanged.
  appendFileSync(used.cert, '\n')
}

/** Recognises TLS failures, which Node and Postgres report by codes. */

/** Whether a code of Node or OpenSSL means a rejected certificate. */
export const isUntrusted = (code: string): boolean =>
  /^(ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|CERT_)/.test(code)

/** Whether a code of Node or OpenSSL means a server that answers a TLS handshake in plain text. */
export const speaksPlain = (code: string): boolean =>
  code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'EPROTO'

/** Returns why TLS to Postgres failed, by the demands of the address or of the server; undefined for other failures. */
export function tlsIssueOfPostgres(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { code, reason } = error as { code?: unknown; reason?: unknown }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `its certificate is made out to another name (${String(reason)}); connect by a name in the certificate`
  if (typeof code === 'string' && isUntrusted(code))
    return `its certificate is not trusted (${code}); set sslrootcert in the address to the file of the authority that has signed it`
  if (error.message.startsWith('The server does not support SSL connections'))
    return 'it does not offer TLS, which sslmode in the address demands; set ssl = on in postgresql.conf'
  if (code === '28000' && error.message.includes('no encryption'))
    return 'it refuses connections without TLS; add sslmode=verify-full and sslrootcert to the address'
  return undefined
}

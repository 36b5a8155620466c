/**
 * Asks the endpoints that answer versions. Their addresses come from artifacts, so the rules of `outgoing-fetch.ts` hold. A secret is a file
 * in a folder of its host and port: otherwise an artifact could send any secret of this machine to a server of its author. Callers of a
 * model read the errors, so these hold neither secrets nor paths.
 */
import { AwsV4Signer } from 'aws4fetch'
import { join } from 'node:path'
import { z } from 'zod'
import { DomainError, errorTable, isError } from '../domain/errors.ts'
import { createGuard } from './outgoing-address.ts'
import { outgoingPost } from './outgoing-fetch.ts'
import { readSecret, readSecretJson } from './secret-json.ts'
import { tlsIssueOf } from './tls/certificate.ts'

interface Question {
  address: string
  headers: Record<string, string>
  body: string | Uint8Array
  http2?: boolean
  /** Whether the body of an error is read too. */
  readsErrors?: boolean
  secret?: string
  /** Default: the secret is sent as a bearer token. */
  signedFor?: { service: string; region: string }
  maxBytes: number
  maxMs: number
}

interface Reply {
  status: number
  body: Uint8Array
  headers: Record<string, unknown>
}

/** How long a secret that was read is used. A new one needs no restart. */
const secretMs = 10_000

/** What a header may hold. The error of another one would show it. */
const inHeader = /^[!-~]+( +[!-~]+)*$/
const key = z.string().regex(inHeader, 'is not one line of ASCII characters')
const awsKeys = z.strictObject({
  accessKeyId: key,
  secretAccessKey: key,
  sessionToken: key.optional(),
})

const speaksOther =
  'it does not speak HTTP/1.1: write https:// for a server with TLS, and grpc:// for one of gRPC'

export function createEndpointClient({
  privateHosts,
  secrets,
}: {
  privateHosts: readonly string[]
  secrets: string
}) {
  const { isListed } = createGuard(privateHosts)
  const known = new Map<string, { readMs: number; secret: Promise<unknown> }>()

  const once = async <T>(file: string, read: () => Promise<T>): Promise<T> => {
    const nowMs = performance.now()
    let found = known.get(file)
    if (found === undefined || nowMs - found.readMs > secretMs) {
      found = { readMs: nowMs, secret: read() }
      known.set(file, found)
    }
    try {
      return (await found.secret) as T
    } catch (error) {
      known.delete(file)
      throw error
    }
  }
  const authorised = async ({
    address,
    body,
    headers,
    secret,
    signedFor,
  }: Question): Promise<Record<string, string>> => {
    if (secret === undefined) return headers
    const { host, hostname, protocol } = new URL(address)
    if (protocol !== 'https:' && !isListed(hostname))
      throw new DomainError(
        'address_not_allowed',
        `a secret is sent over http:// only to a host that TENURE_PRIVATE_HOSTS lists, and ${hostname} is none`,
      )
    const file = join(secrets, 'endpoints', host, secret)
    const what = `the secret endpoints/${host}/${secret} of TENURE_SECRETS`
    if (signedFor === undefined) {
      const token = await once(file, () => readSecret(file, what))
      if (!inHeader.test(token))
        throw new DomainError('configuration_invalid', `${what} is not one line of ASCII characters`)
      return { ...headers, authorization: `Bearer ${token}` }
    }
    const keys = await once(file, async () => {
      const found = await readSecretJson(file, awsKeys, what)
      if (found === undefined) throw new DomainError('configuration_invalid', `${what} is missing`)
      return found
    })
    const signed = await new AwsV4Signer({
      ...keys,
      ...signedFor,
      method: 'POST',
      url: address,
      headers: { ...headers },
      body,
    }).sign()
    return Object.fromEntries(signed.headers)
  }
  return {
    /**
     * Throws `address_not_allowed`, `answer_too_large`, `configuration_invalid` for a secret, and the error of a connection, each as
     * `lasting: true` where the same request fails again.
     */
    async ask(question: Question): Promise<Reply> {
      const { address, body, http2, readsErrors, maxBytes, maxMs } = question
      try {
        const headers = await authorised(question)
        const request = { headers, body, http2, readsErrors, privateHosts, maxBytes, maxMs }
        return await outgoingPost(address, request)
      } catch (error) {
        throw told(error as Error)
      }
    },
  }
}

/** The error of a request, without a text of the server. */
function told(error: Error): Error {
  if (isError(error)) return Object.assign(error, { lasting: !errorTable[error.code].retryable })
  const { name, code } = error as { name: string; code?: unknown }
  if (name === 'HTTPParserError') return Object.assign(new Error(speaksOther), { lasting: true })
  if (typeof code !== 'string') return error
  const issue = tlsIssueOf(code)
  return Object.assign(new Error(issue ?? `the connection failed (${code})`), {
    lasting: issue !== undefined || code === 'ENOTFOUND',
  })
}

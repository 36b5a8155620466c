/**
 * Verifies the certificate of a release without a server: that a trusted key has signed it, that what is shown is what was signed, and that
 * each verdict follows from its counts. A certificate is never trusted by a key that it brings.
 */
import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto'
import { canonicalJson } from '../../../domain/canonical-json.ts'
import { hasCustomPrimary } from '../../../domain/evaluation/policy.ts'
import {
  auditHeadText,
  certificateIssues,
  envelopeHead,
  firstDifference,
  payloadType,
  statementOf,
  type CertificateFile,
  type CertificateStatement,
} from '../../../domain/release/certificate.ts'

/** A field that is wrong: its path in the file, and a sentence about it. */
export interface Issue {
  field: string
  message: string
}

export interface Verification {
  /** What the certificate proves, in one sentence; empty for one that is not valid. */
  summary: string
  /** Empty for a valid certificate. */
  issues: Issue[]
}

/** `keys`: the Ed25519 public keys of the installation that are trusted, as `tenure certificates key` prints them. */
export function verifyCertificate(file: string, keys: string): Verification {
  const trusted = readKeys(keys)
  for (const purpose of ['certificates', 'heads'] as const)
    if (trusted[purpose].length === 0)
      return refused(
        '--key',
        `holds no Ed25519 public key in PEM behind a line "# ${purpose}": take what \`tenure certificates key\` prints`,
      )
  const parsed = parse(file)
  if (!parsed?.statement || !parsed.envelope) return refused('file', 'is not the JSON of a certificate')
  // Of two members of one name, a reader may see the one that is not verified.
  if (membersIn(file) !== membersOf(parsed)) return refused('file', 'has two members of the same name')
  const { statement, envelope } = parsed
  const payload = Buffer.from(String(envelope.payload), 'base64')
  const signed = parse(payload.toString())
  const issues = [
    ...envelopeIssues(envelope, payload, trusted.certificates),
    ...firstDifference(envelope.payload, payload.toString('base64'), 'envelope/payload').map(({ field }) => ({
      field,
      message: 'is not base64',
    })),
    ...(signed === undefined
      ? [{ field: 'envelope/payload', message: 'is not the JSON of a statement' }]
      : firstDifference(statement, signed, 'statement').map(({ field, one, other }) => ({
          field,
          message: `is ${one}, but ${other} was signed`,
        }))),
  ]
  // What was not signed is not judged.
  if (issues.length > 0) return { summary: '', issues }
  const found = judgedIssues(statement, trusted.heads)
  return { summary: found.length === 0 ? summaryOf(statement) : '', issues: found }
}

/** The number of members that a JSON text writes, and that its value has. */
const membersIn = (json: string): number =>
  [...json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon !== undefined).length

const membersOf = (value: unknown): number =>
  typeof value !== 'object' || value === null
    ? 0
    : Object.values(value).reduce<number>(
        (sum, each) => sum + membersOf(each),
        Array.isArray(value) ? 0 : Object.keys(value).length,
      )

const refused = (field: string, message: string): Verification => ({
  summary: '',
  issues: [{ field, message }],
})

function parse(text: string): Partial<CertificateFile> | undefined {
  try {
    const value = JSON.parse(text) as Partial<CertificateFile>
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** The keys of an installation, by what they sign: the certificate, and the head of the audit log that it names. */
type TrustedKeys = Readonly<Record<'certificates' | 'heads', KeyObject[]>>

/** Reads keys behind a line with their purpose, as `tenure certificates key` prints them. A key without a purpose is trusted for none. */
function readKeys(pem: string): TrustedKeys {
  const keys: TrustedKeys = { certificates: [], heads: [] }
  const blocks = pem.matchAll(
    /^# (certificates|heads)\s*(-----BEGIN PUBLIC KEY-----[^-]*-----END PUBLIC KEY-----)/gm,
  )
  for (const [, purpose, block] of blocks)
    try {
      const key = createPublicKey(block!)
      if (key.asymmetricKeyType === 'ed25519') keys[purpose as keyof TrustedKeys].push(key)
    } catch {
      // No key.
    }
  return keys
}

const fingerprintOf = (key: KeyObject): string =>
  `SHA256:${createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('base64')
    .replace(/=+$/, '')}`

function envelopeIssues(
  { payloadType: type, signatures }: CertificateFile['envelope'],
  payload: Buffer,
  trusted: readonly KeyObject[],
): Issue[] {
  const issues: Issue[] = []
  if (type !== payloadType)
    issues.push({ field: 'envelope/payloadType', message: `is ${String(type)}, not ${payloadType}` })
  const bytes = Buffer.concat([Buffer.from(envelopeHead(payload.byteLength)), payload])
  if (!Array.isArray(signatures) || signatures.length === 0)
    return [
      ...issues,
      { field: 'envelope/signatures', message: 'is empty: nobody has signed the certificate' },
    ]
  for (const [at, signature] of signatures.entries()) {
    const { keyid, sig } = (signature ?? {}) as Partial<typeof signature>
    const field = `envelope/signatures/${at}`
    const key = trusted.find((each) => fingerprintOf(each) === keyid)
    if (key === undefined)
      issues.push({
        field: `${field}/keyid`,
        message: `is ${String(keyid)}, which is none of the trusted keys`,
      })
    else if (Buffer.from(String(sig), 'base64').toString('base64') !== sig)
      issues.push({ field: `${field}/sig`, message: 'is not base64' })
    else if (!verify(null, bytes, key, Buffer.from(String(sig), 'base64')))
      issues.push({ field: `${field}/sig`, message: 'is no signature of the trusted key over this payload' })
  }
  return issues
}

const digestOf = (value: unknown): string =>
  `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`

/** A trusted key may have signed what is no certificate of this version. */
function judgedIssues(statement: CertificateStatement, heads: readonly KeyObject[]): Issue[] {
  try {
    return contentIssues(statement, heads)
  } catch (error) {
    return [
      {
        field: 'statement/predicate',
        message: `is no certificate that this version reads: ${String(error)}`,
      },
    ]
  }
}

function contentIssues(statement: CertificateStatement, heads: readonly KeyObject[]): Issue[] {
  const { predicate } = statement
  const { auditHead } = predicate
  const isSigned = heads.some((key) =>
    verify(null, Buffer.from(auditHeadText(auditHead)), key, Buffer.from(auditHead.signature, 'base64url')),
  )
  return [
    ...firstDifference(statement, statementOf(predicate)).map(({ field, one, other }) => ({
      field,
      message: `is ${one}, not ${other}`,
    })),
    ...(isSigned
      ? []
      : [
          {
            field: 'predicate/auditHead/signature',
            message: 'is no signature of a trusted key over the head',
          },
        ]),
    ...certificateIssues(predicate, digestOf).map(({ field, message }) => ({
      field: `predicate/${field}`,
      message,
    })),
  ].map(({ field, message }) => ({ field: `statement/${field}`, message }))
}

function summaryOf({ predicate }: CertificateStatement): string {
  const { release, decisions, auditHead, gate } = predicate
  const { policy } = gate.report
  const stated = hasCustomPrimary(policy)
    ? ` The values of ${policy.primary} are stated, because a function of the model file computes them; the verdict of the gate follows from them.`
    : ''
  return (
    `Valid: ${release.version} was ${release.outcome.replace('_', ' ')} by release ${release.id}; ` +
    `${decisions.length} verdicts follow from their counts; head ${auditHead.seq} of the audit log is signed.${stated}`
  )
}

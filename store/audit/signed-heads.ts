/**
 * Stores signed heads of the audit log outside the database, because the chain alone cannot reveal a truncated tail or a replaced chain.
 * Each worker and replica signs the hash of every committed row and appends it to two files. A truncation within the milliseconds before
 * that, or while no process runs, is not detected.
 */
import { appendFile, mkdir, open, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { auditHeadText } from '../../domain/release/certificate.ts'
import { absentFile } from '../absent-file.ts'
import { isUnreachable } from '../artifact-marker.ts'
import { upsertAlert } from '../monitoring/alerts.ts'
import {
  auditChannel,
  findLinks,
  findTakeover,
  followRow,
  readRows,
  type AuditHead,
  type ChainWalk,
  type KnownHead,
} from './audit-log.ts'
import type { IsSigned } from './row-signatures.ts'
import type { Store } from '../postgres.ts'
import type { Signer, Verifier } from '../signing/signing-key.ts'

export interface SignedHead extends AuditHead {
  /** When the head was signed; ISO 8601. */
  at: string
  /** Ed25519, base64url. */
  signature: string
}

export interface HeadReader {
  /** The newest head in any of the files. */
  last(): Promise<SignedHead | undefined>
  /** All heads, and the unreadable parts of the files. */
  read(): Promise<{ heads: KnownHead[]; issues: string[] }>
}

export interface HeadList extends HeadReader {
  /** Appends to every file whose last head is older. */
  append(head: AuditHead): Promise<void>
}

/** One file in the state directory of this machine, and one beside the artifacts. */
export const headFiles = (places: { stateDir: string; artifactRoot: string }): string[] => [
  join(places.stateDir, 'audit', 'heads.jsonl'),
  join(places.artifactRoot, 'audit', 'heads.jsonl'),
]

export function openHeads(files: readonly string[], signer: Signer): HeadList {
  return {
    ...readHeads(files, signer),
    async append({ seq, hash }) {
      const at = new Date().toISOString()
      const signature = signer.sign(bytesOf({ seq, hash, at })).toString('base64url')
      for (const file of files) {
        // The file beside the artifacts follows when its folder is mounted again.
        if (await isUnreachable(dirname(dirname(file)))) continue
        const tail = await tailOf(file)
        if ((lastIn(tail)?.seq ?? 0) >= seq) continue
        await mkdir(dirname(file), { recursive: true })
        // A crash or a full disk may have cut the last line. Other processes append too, so it is left there.
        const start = tail === '' || tail.endsWith('\n') ? '' : '\n'
        await appendFile(file, `${start}${JSON.stringify({ seq, hash, at, signature })}\n`)
      }
    },
  }
}

/** Opens the files for a process that verifies heads and signs none. */
export function readHeads(files: readonly string[], verifier: Verifier): HeadReader {
  const isGenuine = ({ signature, ...head }: SignedHead) =>
    verifier.verify(bytesOf(head), Buffer.from(signature, 'base64url'), Date.parse(head.at))
  return {
    async last() {
      const found = (await Promise.all(files.map(tailOf))).map(lastIn).filter((each) => each !== undefined)
      return found.toSorted((one, other) => other.seq - one.seq)[0]
    },
    async read() {
      const issues: string[] = []
      const heads: KnownHead[] = []
      for (const file of files) {
        const lines = ((await readFile(file, 'utf8').catch(absentFile)) ?? '').split('\n')
        for (const [index, line] of lines.entries()) {
          const head = parse(line)
          // The row of a cut line was signed again since.
          if (head === undefined && isCut(line)) continue
          if (head === undefined) issues.push(`line ${index + 1} of ${file} is not a head`)
          else heads.push({ seq: head.seq, hash: head.hash, isGenuine: () => isGenuine(head) })
        }
      }
      const newest = heads.toSorted((one, other) => other.seq - one.seq)[0]
      if (newest?.isGenuine?.() === false)
        issues.push(`the head of row ${newest.seq} is not signed with this key`)
      return { heads, issues }
    },
  }
}

/** Compares rows with the heads. A breach is looked for again, because a restore replaces rows and heads between the two reads. */
export async function compareWithHeads<Report extends { breach?: string }>(
  heads: Pick<HeadReader, 'read'>,
  verify: (known: KnownHead[]) => Promise<Report>,
): Promise<Report> {
  const look = async () => {
    const { heads: known, issues } = await heads.read()
    const report = await verify(known)
    return { ...report, breach: report.breach ?? issues[0] }
  }
  const report = await look()
  return report.breach === undefined ? report : look()
}

const bytesOf = (head: AuditHead & { at: string }): Buffer => Buffer.from(auditHeadText(head))

const lineStart = '{"seq":'

/** Whether a line is empty, or the beginning of a head without its end. */
const isCut = (line: string): boolean =>
  line === '' || lineStart.startsWith(line) || (line.startsWith(lineStart) && !line.endsWith('}'))

function parse(line: string): SignedHead | undefined {
  if (!line.startsWith(lineStart)) return undefined
  try {
    const { seq, hash, at, signature } = JSON.parse(line) as Partial<SignedHead>
    if (!Number.isSafeInteger(seq) || typeof hash !== 'string' || typeof at !== 'string') return undefined
    return typeof signature === 'string' ? { seq: seq!, hash, at, signature } : undefined
  } catch {
    return undefined
  }
}

/** Enough bytes for several lines. */
const tailBytes = 4_096

/** The end of a file, without reading the whole file; empty for an absent one. */
async function tailOf(file: string): Promise<string> {
  const handle = await open(file, 'r').catch(absentFile)
  if (handle === undefined) return ''
  try {
    const { size } = await handle.stat()
    const from = Math.max(0, size - tailBytes)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(tailBytes), 0, tailBytes, from)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** The last head of the end of a file. A line without its end does not count. */
const lastIn = (tail: string): SignedHead | undefined =>
  tail
    .split('\n')
    .slice(0, -1)
    .map(parse)
    .findLast((each) => each !== undefined)

export interface HeadKeeper {
  /** Checks the table now, without waiting for a notification. */
  catchUp(): Promise<void>
  stop(): Promise<void>
}

/** How often the table is checked for missed notifications. */
const lookMs = 5_000
const rowBatchSize = 1_000

interface Look {
  /** The first breach, and the last valid row before it. */
  why?: string
  next?: AuditHead
  /** Whether more rows follow. */
  more?: boolean
}

/**
 * Signs the newest row of the table. Notifications only trigger a check, because any role with CONNECT can send one. Reports a row that
 * does not follow from the last signed row or that no process of this installation signed, and then signs no more heads: every
 * verification fails until the cause is found.
 */
export function keepHeads({
  store,
  heads,
  isSigned,
  onError,
}: {
  store: Store
  heads: HeadList
  isSigned: IsSigned
  onError: (what: string, error?: unknown) => void
}): HeadKeeper {
  let broken = false
  const raiseBroken = async (why: string) => {
    if (!broken) onError(`the audit is broken: ${why}`)
    broken = true
    await upsertAlert(store, {
      dedupeKey: 'audit_broken',
      severity: 'critical',
      kind: 'audit_broken',
      message: `The audit is broken: ${why}. Compare the database with a backup; \`tenure audit verify\` says where.`,
    })
  }
  const look = async (): Promise<Look> => {
    const last = await heads.last()
    const { newest, earlier } = await findLinks(store, last?.seq ?? 0)
    if (last && (newest === undefined || newest.seq < last.seq))
      return { why: `the rows after ${newest?.seq ?? 0} are missing, there were ${last.seq}` }
    if (last && earlier?.hash !== last.hash)
      return { why: `row ${last.seq} differs from the row whose hash was signed` }
    if (newest === undefined || newest.seq === last?.seq) return {}
    const walk: ChainWalk = { head: last, isSigned: earlier?.signature !== undefined }
    const takeover = await findTakeover(store, isSigned)
    let why: string | undefined
    for (const row of await readRows(store, last?.seq ?? 0, rowBatchSize))
      if ((why ??= followRow(walk, row, row.seq < takeover ? undefined : isSigned)) !== undefined) break
    return { why, next: walk.head === last ? undefined : walk.head, more: newest.seq > (walk.head?.seq ?? 0) }
  }
  const catchUp = async () => {
    let found = await look()
    // Restoring a backup truncates the files at the same moment, so the earlier read is out of date.
    if (found.why !== undefined) found = await look()
    if (found.next !== undefined) await heads.append(found.next)
    if (found.why !== undefined) return raiseBroken(found.why)
    if (found.more) await catchUp()
  }
  let queue = Promise.resolve()
  const inTurn = (work: () => Promise<void>): Promise<void> =>
    (queue = queue
      .then(work)
      .catch((error: unknown) => onError('a signed head of the audit log was not stored', error)))
  let isWaiting = false
  const hear = () => {
    // The pending check will also see the row of this notification.
    if (isWaiting) return
    isWaiting = true
    void inTurn(() => ((isWaiting = false), catchUp()))
  }
  const unlisten = store.listen(auditChannel, hear)
  const timer = setInterval(() => void inTurn(catchUp), lookMs)
  timer.unref()
  return {
    catchUp: () => inTurn(catchUp),
    async stop() {
      clearInterval(timer)
      await unlisten()
      await queue
    },
  }
}

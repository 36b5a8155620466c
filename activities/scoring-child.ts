/** A process that answers rows as a replica would, piece by piece. Activities may not import what serves. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DomainError, errorTable, type ErrorCode } from '../domain/errors.ts'
import { checkout } from '../temporal.config.ts'

export interface Piece {
  rows: number
  columns: Record<string, (number | string | null)[]>
}

export interface Scored {
  /** Numbers an answer. */
  width: number
  /** Row by row; null where one is not finite. */
  outputs: (number | null)[]
  /** Row → why it has no answer. */
  problems: Record<number, string>
}

export interface Scorer {
  /** Pieces are answered in their order; several may be asked at once. Throws what the process says, or that it has ended. */
  score(piece: Piece): Promise<Scored>
  close(): Promise<void>
}

export function startScorer(argv: readonly string[], signal: AbortSignal): Scorer {
  const child = spawn(
    process.execPath,
    ['--max-old-space-size=512', '--import', 'tsx', join(checkout, 'api/scorer.ts'), ...argv],
    { cwd: checkout, stdio: ['pipe', 'pipe', 'pipe'], signal, killSignal: 'SIGKILL' },
  )
  const waiting: { resolve: (scored: Scored) => void; reject: (error: Error) => void }[] = []
  let complaint = ''
  let broken: Error | undefined
  const fail = (error: Error) => {
    broken ??= error
    for (const each of waiting.splice(0)) each.reject(broken)
  }
  child.stderr.on('data', (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-2_000)))
  child.stdin.on('error', () => {})
  child.on('error', fail)
  createInterface({ input: child.stdout, crlfDelay: Infinity }).on('line', (line) => {
    const said = JSON.parse(line) as ({ ok: true } & Scored) | { ok: false; code: string; message: string }
    if (said.ok) waiting.shift()?.resolve(said)
    else
      fail(
        new DomainError(
          said.code in errorTable ? (said.code as ErrorCode) : 'artifact_invalid',
          said.message,
        ),
      )
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', (code, ending) => {
      const last = complaint.trim().split('\n').at(-1) ?? ''
      fail(new Error(`the process that answers ended with ${ending ?? code} ${last}`.trim()))
      resolve()
    })
  })
  return {
    score: (piece) =>
      new Promise((resolve, reject) => {
        if (broken !== undefined) return reject(broken)
        waiting.push({ resolve, reject })
        child.stdin.write(`${JSON.stringify(piece)}\n`)
      }),
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

/** Scores rows in a separate process with the serving code, which activities may not import. */
import { DomainError, isError } from '../../domain/errors.ts'
import { createFrames, messageParts, type MessageFrame } from '../../domain/message-framing.ts'
import { spawnServing } from './serving-child.ts'

export interface Scored {
  /** Numbers per prediction. */
  width: number
  /** Row-major; null for a non-finite number. */
  outputs: (number | null)[]
  /** Row index → why the row has no prediction. */
  problems: Record<number, string>
}

export interface ScoredColumns {
  width: number
  /** Row-major. */
  outputs: Float32Array
  /** 1 when the version cannot read the row. The reason needs the original values of the row. */
  refused: Uint8Array
  problems: Record<number, string>
}

export interface Scorer {
  /** Results come in the order of the requests; several may be in flight. Throws the error of the process, or that it has exited. */
  score(piece: { rows: number; columns: Record<string, (number | string | null)[]> }): Promise<Scored>
  /** The same for rows in the batch layout, in parts. Takes ownership of the bytes. */
  scoreColumns(rows: number, parts: readonly Uint8Array[]): Promise<ScoredColumns>
  close(): Promise<void>
}

type ScoringReply = ({ ok: true } & Partial<Scored>) | { ok: false; code: string; message: string }

interface Reply {
  scored: Partial<Scored>
  bytes: MessageFrame['bytes']
}

export function startScorer(argv: readonly string[], signal: AbortSignal): Scorer {
  const { child, last } = spawnServing(['api/processes/batch-scorer.ts', ...argv], 512, { signal })
  const waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = []
  let broken: Error | undefined
  const fail = (error: Error) => {
    broken ??= error
    for (const each of waiting.splice(0)) each.reject(broken)
  }
  child.on('error', fail)
  const frames = createFrames()
  child.stdout.on('data', (chunk: Buffer) => {
    for (const frame of frames(chunk)) {
      const reply = JSON.parse(frame.line) as ScoringReply
      if (reply.ok) waiting.shift()?.resolve({ scored: reply, bytes: frame.bytes })
      else fail(new DomainError(isError(reply) ? reply.code : 'artifact_invalid', reply.message))
    }
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', (code, ending) => {
      fail(new Error(`the scoring process exited with ${ending ?? code} ${last()}`.trim()))
      resolve()
    })
  })
  const ask = (line: object, bytes: readonly Uint8Array[] = []): Promise<Reply> =>
    new Promise((resolve, reject) => {
      if (broken !== undefined) return reject(broken)
      waiting.push({ resolve, reject })
      for (const part of messageParts(line, bytes)) child.stdin.write(part)
    })
  return {
    score: async (piece) => (await ask(piece)).scored as Scored,
    async scoreColumns(rows, parts) {
      const { scored, bytes: given } = await ask({ rows }, parts)
      const { width, problems } = scored as Scored
      const outputs = new Float32Array(given.buffer, 0, rows * width)
      return { width, problems, outputs, refused: given.subarray(outputs.byteLength) }
    },
    async close() {
      child.stdin.end()
      await ended
    },
  }
}

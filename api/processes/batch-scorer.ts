/**
 * Scores rows in a child process with the code of a replica: the same checks, the same encoder, the same numbers. `batch-scorer.ts
 * <artifact root> <digest> <version>` reads one chunk per line of JSON and writes one line per chunk. A chunk has its rows as columns in
 * the line. Or the line gives a number of bytes that follow in the layout of a batch; then outputs and marks follow the reply as bytes.
 */
import { once } from 'node:events'
import { bytesOfRow, batchLayoutOf, hasTakenTexts, type BatchLayout } from '../../domain/model/batch-spec.ts'
import { isError } from '../../domain/errors.ts'
import { createFrames, messageParts } from '../../domain/message-framing.ts'
import { keptMessage } from '../../store/serving/log-policy.ts'
import { getArtifact, openArtifacts } from '../../store/artifacts.ts'
import { createInputBuffer, resetInput, writeRow } from '../serving/codec/input-buffer.ts'
import type { ColumnBlock } from '../serving/columnar/column-source.ts'
import { compileColumns } from '../serving/columnar/column-predictor.ts'
import { denseNetworkOf, maxBytesOf } from '@tenure/predictors'
import { createRuntimes } from '../serving/runtime/hosts.ts'
import { runRows } from '../serving/run-rows.ts'
import { openVersion, type LoadedVersion } from '../serving/version/loaded-version.ts'

type Piece =
  /** Columns: the values of each feature. Bytes: their number after the line. */
  { rows: number; columns: Record<string, (number | string | null)[]> } | { bytes: number; rows: number }

interface Reply {
  line: object
  bytes?: readonly Uint8Array[]
}

const runtimes = createRuntimes({
  onError: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
  // The sender chooses the size of a chunk, and no other request waits in this process.
  batches: { maxPending: Infinity },
})
const [root = '', digest = '', version = ''] = process.argv.slice(2)
let loaded: LoadedVersion | undefined
try {
  const { manifest, files } = await getArtifact(openArtifacts(root), digest, maxBytesOf)
  loaded = await openVersion(version, manifest, files, runtimes)
  const layout = batchLayoutOf(manifest.features, manifest.preprocessing)
  const score = compileScorer(loaded)
  const scoreColumns = compileColumnScorer(
    loaded,
    layout,
    compileColumns(loaded, layout, denseNetworkOf(manifest, files)),
  )
  const frames = createFrames()
  for await (const chunk of process.stdin)
    for (const { line, bytes } of frames(chunk as Buffer)) {
      const piece = JSON.parse(line) as Piece
      await say('columns' in piece ? { line: await score(piece) } : await scoreColumns(piece.rows, bytes))
    }
} catch (error) {
  const code = isError(error) ? error.code : 'artifact_invalid'
  const message = keptMessage(error as Error, loaded?.logPolicy)
  process.stdout.write(`${JSON.stringify({ ok: false, code, message })}\n`)
}
await runtimes.stop()

async function say({ line, bytes = [] }: Reply): Promise<void> {
  let isTaken = true
  for (const part of messageParts(line, bytes)) isTaken = process.stdout.write(part)
  if (!isTaken) await once(process.stdout, 'drain')
}

function compileColumnScorer(
  { format, predictor }: LoadedVersion,
  layout: BatchLayout,
  answer: ReturnType<typeof compileColumns>,
) {
  return async (rows: number, bytes: Uint8Array<ArrayBuffer>): Promise<Reply> => {
    const outputs = new Float32Array(rows * predictor.outputs)
    const refused = new Uint8Array(rows)
    await answer(blockOf(layout, rows, bytes), outputs, refused)
    const problems: Record<number, string> = {}
    for (let row = 0; row < rows; row++) {
      const issue = refused[row] === 0 ? format.issueOf(outputs, row) : undefined
      if (issue !== undefined) problems[row] = issue
    }
    return {
      line: { ok: true, width: predictor.outputs, problems },
      bytes: [new Uint8Array(outputs.buffer), refused],
    }
  }
}

function blockOf(layout: BatchLayout, rows: number, bytes: Uint8Array<ArrayBuffer>): ColumnBlock {
  const columnBytes = rows * bytesOfRow(layout)
  const hasTexts = hasTakenTexts(layout)
  if (hasTexts ? bytes.byteLength < columnBytes : bytes.byteLength !== columnBytes)
    throw new RangeError(`${bytes.byteLength} bytes are not ${rows} rows`)
  const { numbers, texts } = layout
  const textsAt = numbers.length * rows * 8
  const taken = Buffer.from(bytes.buffer, columnBytes)
  return {
    rows,
    taken: hasTexts ? { texts: taken, textBytes: taken.byteLength } : undefined,
    numbers: numbers.map((_, slot) => new Float64Array(bytes.buffer, slot * rows * 8, rows)),
    texts: texts.map((_, slot) => new Int32Array(bytes.buffer, textsAt + slot * rows * 4, rows)),
  }
}

function compileScorer(loaded: LoadedVersion) {
  const { predictor, columns: all, cells, format } = loaded
  const buffer = createInputBuffer()
  let outputs = new Float32Array(0)
  return async ({ rows, columns }: Extract<Piece, { columns: unknown }>) => {
    resetInput(buffer, all, rows)
    const { input } = buffer
    if (outputs.length < rows * predictor.outputs) outputs = new Float32Array(rows * predictor.outputs)
    const problems: Record<number, string> = {}
    const values = cells.names.map((name) => columns[name] ?? [])
    const refuse = (row: number, error: Error): void => {
      problems[row] = withoutPlace(error)
      input.fill(0, row * predictor.inputs, (row + 1) * predictor.inputs)
    }
    for (let i = 0; i < rows; i++) {
      try {
        cells.read((place) => values[place]![i] ?? null, i, buffer)
      } catch (error) {
        writeRow(buffer, all, {}, i)
        refuse(i, error as Error)
        continue
      }
      const refusal = predictor.refusalOf?.(input, i)
      if (refusal !== undefined) refuse(i, refusal)
    }
    await runRows(predictor, { input, rows, texts: buffer, textColumns: all.texts }, outputs, {
      isSkipped: (i) => problems[i] !== undefined,
      refuse: (i, reason) => (problems[i] = withoutPlace(reason)),
    })
    for (let i = 0; i < rows; i++) {
      const issue = problems[i] === undefined ? format.issueOf(outputs, i) : undefined
      if (issue !== undefined) problems[i] = issue
    }
    const answers = Array.from(outputs.subarray(0, rows * predictor.outputs), (value) =>
      Number.isFinite(value) ? value : null,
    )
    return { ok: true, width: predictor.outputs, outputs: answers, problems }
  }
}

function withoutPlace({ message }: Error): string {
  return message.replace(/^instance \d+:? ?/, '')
}

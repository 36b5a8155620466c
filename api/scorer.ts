/**
 * Answers rows in a process of its own, as a replica would: the same checks, the same encoder, the same loops.
 *
 * `scorer.ts <artifact root> <digest> <version>` reads one line of JSON a piece, columns by feature, and answers each with
 * one line: the outputs row by row, and what is wrong with the rows that cannot be read.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { isError } from '../domain/errors.ts'
import type { Row } from '../domain/features.ts'
import { getArtifact, openArtifacts } from '../store/artifacts.ts'
import { createTensors } from './serving/tensors.ts'
import { openVersion, type LoadedVersion } from './serving/version.ts'

/** Feature → its values. */
type Piece = { rows: number; columns: Record<string, (number | string | null)[]> }

const tensors = createTensors({
  onTrouble: (message, error) => process.stderr.write(`${message} ${String(error ?? '')}\n`),
  // A piece is as large as whoever sends it wants; nobody else waits here.
  batches: { mostWaiting: Infinity },
})
const [root = '', digest = '', version = ''] = process.argv.slice(2)
try {
  const { manifest, ...files } = await getArtifact(openArtifacts(root), digest)
  const score = compileScorer(await openVersion(version, manifest, files, tensors))
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const answer = await score(JSON.parse(line) as Piece)
    if (!process.stdout.write(`${JSON.stringify(answer)}\n`)) await once(process.stdout, 'drain')
  }
} catch (error) {
  const code = isError(error) ? error.code : 'artifact_invalid'
  process.stdout.write(`${JSON.stringify({ ok: false, code, message: (error as Error).message })}\n`)
}
await tensors.stop()

function compileScorer({ manifest, predictor, read, format }: LoadedVersion) {
  const names = Object.keys(manifest.features)
  let input = new Float32Array(0)
  let outputs = new Float32Array(0)
  return async ({ rows, columns }: Piece) => {
    if (input.length < rows * predictor.inputs) input = new Float32Array(rows * predictor.inputs)
    if (outputs.length < rows * predictor.outputs) outputs = new Float32Array(rows * predictor.outputs)
    const problems: Record<number, string> = {}
    const cells = names.map((name) => columns[name] ?? [])
    const row: Row = {}
    for (let i = 0; i < rows; i++) {
      for (let f = 0; f < names.length; f++) row[names[f]!] = cells[f]![i] ?? null
      try {
        read(row, i, input, i * predictor.inputs)
      } catch (error) {
        problems[i] = (error as Error).message.replace(/^instance \d+:? ?/, '')
        input.fill(0, i * predictor.inputs, (i + 1) * predictor.inputs)
      }
    }
    await predictor.run(input, rows, outputs)
    for (let i = 0; i < rows; i++) {
      const issue = problems[i] === undefined ? format.issueOf(outputs, i) : undefined
      if (issue !== undefined) problems[i] = issue
    }
    const said = Array.from(outputs.subarray(0, rows * predictor.outputs), (value) =>
      Number.isFinite(value) ? value : null,
    )
    return { ok: true, width: predictor.outputs, outputs: said, problems }
  }
}

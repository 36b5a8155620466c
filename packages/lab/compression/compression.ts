/**
 * Makes twelve models smaller in each way that their files allow, and judges each child as the gate does: trees of LightGBM, dense networks and
 * ONNX, four sizes each, trained on real flights. Writes packages/lab/compression/compression.md. `npm run bench -- compression [--rows 60000] [--out
 * FILE]`
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { compressionsOf, type Quantizer } from '@tenure/predictors/format-names'
import type { AdopterJob } from '../../../activities/artifact/adopter.ts'
import { withArtifactReader } from '../../../activities/artifact/reader.ts'
import type { StoredForeign } from '../../../activities/artifact/store-foreign.ts'
import { withDuck } from '../../../activities/data/duckdb.ts'
import { loadRows } from '../../../activities/data/known-rows.ts'
import { readPart, type LabelledRows } from '../../../activities/data/rows.ts'
import { openSourceFiles } from '../../../activities/data/source-files.ts'
import { costBesideParent } from '../../../activities/retrain/compressed-parent.ts'
import { prepareQuantizer } from '../../../activities/retrain/quantizer.ts'
import { runChild } from '../../../activities/runtime/child-process.ts'
import { judgeWorth } from '../../../domain/evaluation/compression.ts'
import { defaultFidelity, judgeFidelity } from '../../../domain/evaluation/fidelity.ts'
import { percentText } from '../../../domain/figures.ts'
import type { CompressionMethod } from '../../../domain/model/compression.ts'
import { asDoubles, rowReader } from '../../../domain/model/columns.ts'
import type { FeatureRow } from '../../../domain/model/features.ts'
import type { Manifest } from '../../../domain/model/manifest.ts'
import { textLiteral } from '../../../domain/sql-text.ts'
import { defineModel, direct, number, parquet, random, yesNo } from '../../../models/define.ts'
import { planRows } from '../../../models/define/data/query.ts'
import { flightDelay } from '../../../models/flight-delay.ts'
import { getManifest, openArtifacts } from '../../../store/artifacts.ts'
import { preparePython } from '../../../store/python/python-environment.ts'
import { cacheDir, checkout, installerEnvironment } from '../../../temporal.config.ts'
import { figureTable, machine, roundedNumber } from '../../../test/support/figures.ts'
import { putArtifact } from '../../../test/support/serving/artifact.ts'
import { readOptions, reportFile } from '../harness/options.ts'

const options = readOptions({ rows: 60_000, out: reportFile('compression/compression.md') })

const columns = {
  distance: 'distance',
  hour: 'hour(departedAt) + minute(departedAt) / 60',
  weekday: 'isodow(departedAt)',
  day: 'day(departedAt)',
  recentLateShare: 'coalesce(recentLateShare, 0.2)',
  networkLateShare: 'coalesce(networkLateShare, 0.2)',
  fromLatitude: 'a.latitude',
  fromLongitude: 'a.longitude',
  toLatitude: 'b.latitude',
  toLongitude: 'b.longitude',
  north: 'b.latitude - a.latitude',
  east: 'b.longitude - a.longitude',
}
const names = Object.keys(columns)

const { definition } = defineModel({
  name: 'flights',
  about: 'Whether a flight is late, from twelve numbers.',
  features: Object.fromEntries(names.map((name) => [name, number()])),
  label: yesNo({ column: 'late', positive: 'late', threshold: 0.25 }),
  source: parquet('none.parquet', { eventTime: 'departedAt' }),
  split: random({ test: 0.3 }),
  evaluation: { primary: 'brier', floors: { brier: 0.25 } },
  release: direct({}),
})

const folder = mkdtempSync(join(tmpdir(), 'tenure-compression-'))
const root = join(folder, 'artifacts')
const artifacts = openArtifacts(root)

/** Stores two parts of three of the flights to train on and one to compare answers on. */
async function storeRows(): Promise<string> {
  const path = join(folder, 'rows.parquet')
  await withDuck(async (duck) => {
    const plan = planRows(flightDelay.definition, { asOfMs: Date.parse('2001-03-01T00:00:00Z') })
    await openSourceFiles(duck, flightDelay.definition.source, { declared: {} })
    await loadRows(duck, plan.known)
    const airports = `read_csv(${textLiteral(join(checkout, 'node_modules/vega-datasets/data/airports.csv'))})`
    const selected = Object.entries(columns).map(([name, sql]) => `cast(${sql} as double) as ${name}`)
    await duck.run(`
      copy (
        select ${selected.join(', ')}, late::int as _label, departedAt as _event_at,
          if(row_number() over (order by departedAt, _key) % 3 = 0, 'test', 'train') as _part
        from (from (${plan.rows}) using sample ${options.rows} rows (reservoir, 7)) as flights
        join ${airports} as a on a.iata = origin join ${airports} as b on b.iata = destination
        order by departedAt, _key
      ) to ${textLiteral(path)} (format parquet)`)
  })
  return (await artifacts.put('snapshots', readFileSync(path))).digest
}

/** Writes the training rows for Python: the numbers and the label of each. */
function writeRows({ rows, columns: all, labels: [label] }: LabelledRows): void {
  const doubles = [...names.map((name) => all[name]!), label].map((column) => asDoubles(column))
  writeFileSync(
    join(folder, 'rows.bin'),
    Float64Array.from(
      { length: rows * doubles.length },
      (_, at) => doubles[at % doubles.length]![Math.floor(at / doubles.length)]!,
    ),
  )
}

async function adopt(snapshotDigest: string, brought: AdopterJob['brought']): Promise<string> {
  const job: AdopterJob = { definition, snapshotDigest, artifactRoot: root, brought, quantizer }
  const { artifactDigest } = await runChild<never, StoredForeign>({
    file: 'activities/artifact/adopter.ts',
    job,
    signal: new AbortController().signal,
    silentMs: 600_000,
  })
  return artifactDigest
}

interface Parent {
  kind: string
  size: string
  digest: string
}

async function storeParents(snapshot: string): Promise<Parent[]> {
  const bring = async (kind: string, file: string, size: string, extension: string): Promise<Parent> => {
    const stored = await artifacts.put('artifacts', readFileSync(join(folder, `${size}.${extension}`)))
    return { kind, size, digest: await adopt(snapshot, { file, ...stored }) }
  }
  const networks = ['16', '64-64', '256-256', '512-512-512']
  const parents: Parent[] = []
  for (const size of ['50x15', '100x31', '300x31', '1000x63'])
    parents.push(await bring('trees', 'model.txt', size, 'txt'))
  for (const size of networks) parents.push({ kind: 'dense network', size, digest: await storeNetwork(size) })
  for (const size of networks) parents.push(await bring('ONNX', 'model.onnx', size, 'onnx'))
  return parents
}

async function storeNetwork(size: string): Promise<string> {
  const readJson = <T>(name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8')) as T
  const { mean, std } = readJson<{ mean: number[]; std: number[] }>('scaler.json')
  const layers = readJson<{ kernel: number[]; bias: number[] }[]>(`${size}.json`)
  return putArtifact(root, {
    model: definition.name,
    features: definition.features,
    output: definition.label.output,
    preprocessing: names.map((name, at) => ({
      name,
      kind: 'number',
      mean: mean[at]!,
      std: std[at]!,
      fill: mean[at]!,
    })),
    layers: layers.map((layer, at) => ({
      ...layer,
      units: layer.bias.length,
      activation: at === layers.length - 1 ? 'sigmoid' : 'relu',
    })),
    golden,
  })
}

let golden: FeatureRow[] = []
let quantizer: Quantizer | undefined
const cells: string[][] = []
try {
  const snapshot = await storeRows()
  const path = await artifacts.locate('snapshots', snapshot)
  const [train, test] = await Promise.all(
    (['train', 'test'] as const).map((part) =>
      readPart(path, part, { names, output: definition.label.output }),
    ),
  )
  writeRows(train!)
  const rows = Array.from({ length: test!.rows }, (_, row) => row).map(rowReader(test!, names))
  golden = rows.slice(0, 8)
  const { python } = await preparePython({
    requirements: join(checkout, 'packages/lab/compression/requirements.txt'),
    cache: cacheDir(),
    env: installerEnvironment(),
    signal: AbortSignal.timeout(600_000),
  })
  const command = await prepareQuantizer(
    { config: { cacheDir: cacheDir() }, log: pino() },
    { about: { model: definition.name }, signal: AbortSignal.timeout(600_000) },
  )
  quantizer = { command, folder: mkdtempSync(join(folder, 'quantizing-')) }
  const program = join(checkout, 'packages/lab/compression/models.py')
  execFileSync(python, [program, folder, String(names.length)], { stdio: 'inherit' })
  await withArtifactReader(root, async (reader) => {
    for (const { kind, size, digest } of await storeParents(snapshot)) {
      const parent = await getManifest(artifacts, digest)
      const answers = await reader.answer(parent, rows)
      for (const to of compressionsOf(parent)) {
        const row = await judge({ kind, size, digest, parent, answers, to })
        console.log(row.join(' | '))
        cells.push(row)
      }
    }

    async function judge({
      kind,
      size,
      digest,
      parent,
      answers,
      to,
    }: Parent & { parent: Manifest; answers: number[][]; to: CompressionMethod }): Promise<string[]> {
      const about = [kind, size, to]
      const [[file, stored] = ['', { digest: '', bytes: 0 }]] = Object.entries(parent.files)
      const order = { version: `${kind}-${size}`, to, artifact: digest }
      let child: string
      try {
        child = await adopt(snapshot, { file, ...stored, compression: order })
      } catch (error) {
        return [...about, '–', '–', '–', '–', '–', (error as Error).message]
      }
      const manifest = await getManifest(artifacts, child)
      const { bytes, answerBound } = manifest.training.compression!
      const cost = await costBesideParent({ artifactRoot: root }, { child, parent: digest })
      const fidelity = judgeFidelity({
        parent: answers,
        child: await reader.answer(manifest, rows),
        version: parent,
        policy: defaultFidelity(definition.evaluation.policy, { version: parent }),
        certificate: answerBound === undefined ? undefined : { bound: answerBound },
      })
      const { times, verdict } = judgeWorth({ ...cost, bytes })
      const kilobytes = [bytes!.parent, bytes!.child].map((each) => roundedNumber(each / 1_000)).join(' → ')
      return [
        ...about,
        `${kilobytes} (${times.bytes!.toFixed(2)} ×)`,
        `${times.rowsPerSecond.toFixed(2)} ×`,
        `${cost.p99Us.parent.toFixed(1)} → ${cost.p99Us.child.toFixed(1)} (${times.p99.toFixed(2)} ×)`,
        (fidelity.maxDifference ?? 0).toPrecision(2),
        `${fidelity.flips} (${percentText(fidelity.flipShare)})`,
        `${fidelity.verdict.replace('_', ' ')}, ${verdict.replaceAll('_', ' ')}`,
      ]
    }
  })
  const header = ['format', 'size', 'to', 'KB', 'rows a second', 'p99 of a row, µs', 'largest difference', 'other decisions', 'verdict'] // prettier-ignore
  writeFileSync(
    options.out,
    `# Twelve models made smaller

Trees of LightGBM (trees × leaves), dense networks (units of the hidden layers) and the same networks in ONNX, trained on ${roundedNumber((options.rows * 2) / 3)} of the real
flights of January and February 2001 with twelve numbers; their children answer ${roundedNumber(test!.rows)} other flights. Each figure in brackets says how many times
better the child is. Bytes are those of the files; rows a second and p99 are measured in turns, one row at a time, from features to response, the best
turn of each. ε is 0.5 %, other decisions at most 1 % of the rows, and worth it is 1.2 times in one of the three and no less than 1/1.1 in any,
but a row that takes up to 1 µs longer is not slower.
${machine}, load ${loadavg()[0]!.toFixed(1)} at the end.

${figureTable(header, cells).join('\n')}
`,
  )
} finally {
  rmSync(folder, { recursive: true })
}

/** Reads a result folder, checks that the model answers as its library did, and stores it as an artifact. */
import { DomainError } from '../../domain/errors.ts'
import { openArtifacts, digestOfJson } from '../../store/artifacts.ts'
import { withArtifactReader } from '../artifact/reader.ts'
import { storeForeign } from '../artifact/store-foreign.ts'
import { roundsOf } from '../../domain/training/rounds.ts'
import { readPart } from '../data/rows.ts'
import { takeJob, whileAlive } from '../runtime/child-protocol.ts'
import { readResultFolder, type ProgramResult } from './result-folder.ts'
import type { ReadResult, ResultJob } from './store-result.ts'

async function store(job: ResultJob): Promise<ReadResult> {
  const { definition, artifactRoot, snapshotDigest, seed, codeDigest } = job
  const result = await readResultFolder(job.output)
  if (definition.serve !== undefined && result.artifact.name !== 'model.python')
    throw new DomainError(
      'training_failed',
      `the training program wrote ${result.artifact.name}, and the model file says that ${definition.serve} answers: use job.save, or leave out serve`,
    )
  const artifacts = openArtifacts(artifactRoot)
  const snapshot = await artifacts.locate('snapshots', snapshotDigest)
  const data = await readPart(snapshot, 'train', {
    names: Object.keys(definition.features),
    output: definition.label.output,
  })
  const dependencies = { ...job.packages, ...result.environment }
  const dependenciesDigest = job.dependenciesDigest ?? digestOfJson(dependencies)
  const { name, path } = result.artifact
  const files = { [name]: await artifacts.take('artifacts', path) }
  const { artifactDigest } = await withArtifactReader(artifactRoot, (reader) =>
    storeForeign(artifacts, reader, {
      definition,
      files,
      declared: result.columns,
      replay: askable(result.replay),
      warnings: result.warnings,
      data,
      training: {
        snapshot: snapshotDigest,
        seed,
        code: codeDigest,
        dependencies: dependenciesDigest,
        hyperparameters: job.hyperparameters,
        rows: data.rows,
      },
    }),
  )
  return {
    artifactDigest,
    codeDigest,
    dependenciesDigest,
    dependencies,
    curve: result.curve,
    rounds: result.rounds,
    notes: [...result.notes, ...notesOfRounds(roundsOf(result), job.bestRound)],
  }
}

/** A refit that trains for another number of rounds is another recipe than the judged one. */
const notesOfRounds = (rounds: number | undefined, bestRound: number | undefined): string[] =>
  rounds === undefined || bestRound === undefined || rounds === bestRound
    ? []
    : [
        `the refit has ${rounds} rounds, the judged model ${bestRound}: train for job.best_round rounds where it is set`,
      ]

/** The rows in the form of a request; JSON has no infinite numbers. */
function askable({ rows, outputs }: ProgramResult['replay']): ProgramResult['replay'] {
  const isAskable = rows.map((row) =>
    Object.values(row).every((cell) => typeof cell !== 'number' || Number.isFinite(cell)),
  )
  return {
    rows: rows.filter((_row, at) => isAskable[at]),
    outputs: outputs.filter((_output, at) => isAskable[at]),
  }
}

takeJob<ResultJob, never, ReadResult>((job, parent) => whileAlive(parent, () => store(job)))

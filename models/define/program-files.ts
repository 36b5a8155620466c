/** Finds the files of a training program, so that the code digest of a version covers them. */
import { createHash } from 'node:crypto'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, extname, join, relative, sep } from 'node:path'
import type { ModelDefinition } from '../../domain/model-definition.ts'
import type { Trainer } from '../../domain/training/trainer.ts'
import { invalid } from './code-digest.ts'
import { isPythonModel } from './python-model.ts'

const maxFiles = 1_000
const maxBytes = 64 * 1_048_576
/** Files that tools create, which differ on every machine or after every training. */
const omitted = new Set([
  '__pycache__',
  'catboost_info',
  'lightning_logs',
  'mlruns',
  'node_modules',
  'renv',
  'venv',
  'wandb',
])

/**
 * Returns `sha256:…` over `digest` and the files of the programs that train the model, write its rows and compute its metrics; `digest` itself without any.
 * Of each program count its script, its requirements and all files beside the script, at any depth; for a command, its arguments and
 * `files` that are files or folders. If the script lies in the folder of the model files, only files with its extension count, without those
 * of other models. Throws `invalid_model_file` for a missing file, for a file or link that leads out of the folder of the model file, and for a command that names
 * no file.
 */
export async function digestWithPrograms(
  digest: string,
  folder: string,
  definition: ProgramOwner,
): Promise<string> {
  return digestWithFiles(digest, await filesOfPrograms(folder, definition))
}

type ProgramOwner = Pick<ModelDefinition, 'name' | 'trainer' | 'serve' | 'source' | 'evaluation'>

/** The files of all programs; undefined where the model has none. */
export async function filesOfPrograms(
  folder: string,
  definition: ProgramOwner,
): Promise<ProgramFiles | undefined> {
  const {
    trainer,
    serve,
    source: { program },
  } = definition
  const metrics = await programOfMetrics(folder, definition)
  if (trainer === undefined && program === undefined && metrics === undefined) return undefined
  const files = [
    ...(trainer === undefined ? [] : await programFiles(folder, trainer)),
    ...(serve === undefined ? [] : await programFiles(folder, { kind: 'python', file: serve }, 'serve')),
    ...(program === undefined ? [] : await programFiles(folder, program, 'source')),
    ...(metrics === undefined ? [] : await programFiles(folder, metrics, 'evaluation.metrics')),
  ]
  return [...new Map(files)]
}

/**
 * The model file in Python as the program that computes its metrics, with the packages of its training program; undefined where the file
 * has no metrics or is in TypeScript.
 */
export async function programOfMetrics(
  folder: string,
  { name, trainer, evaluation }: Omit<ProgramOwner, 'source' | 'serve'>,
): Promise<Extract<Trainer, { kind: 'python' }> | undefined> {
  const file = `${name}.py`
  if (evaluation.policy.custom === undefined || !(await isPythonModel(join(folder, file)))) return undefined
  return trainer?.kind === 'python' ? { ...trainer, file } : { kind: 'python', file }
}

/** Returns the same digest for files that are already read. */
export function digestWithFiles(digest: string, files: ProgramFiles | undefined): string {
  if (files === undefined) return digest
  const hash = createHash('sha256').update(`${digest}\n`)
  for (const [path, found] of files) hash.update(`${found}  ${path}\n`)
  return `sha256:${hash.digest('hex')}`
}

/** The part of the model file that names a program. */
type Part = 'train' | 'serve' | 'source' | 'evaluation.metrics'

export type ProgramFiles = readonly (readonly [path: string, digest: string])[]

/** Returns path → digest of the files of a program, relative to the folder of the model file. */
export async function programFiles(
  folder: string,
  trainer: Trainer,
  part: Part = 'train',
): Promise<ProgramFiles> {
  const root = await realpath(folder)
  const files = new Map<string, string>()
  let bytes = 0
  const add = async (path: string): Promise<void> => {
    const name = relative(folder, path)
    if (files.has(name)) return
    const content = await readFile(path)
    bytes += content.byteLength
    if (files.size >= maxFiles || bytes > maxBytes)
      throw invalid(
        `${part}: the files beside ${named(trainer).join(', ')} are more than ${maxFiles} or larger than ${maxBytes / 1_048_576} MB: move data out of this folder`,
      )
    files.set(name, createHash('sha256').update(content).digest('hex'))
  }
  const location = { root, part, ofProgram: named(trainer).join(', ') }
  for (const name of named(trainer)) {
    const path = join(folder, name)
    const real = await realpath(path).catch(() => undefined)
    const found = real === undefined ? undefined : await stat(real)
    const isFolder = trainer.kind === 'command' && found?.isDirectory() === true && real !== root
    if (found?.isFile() !== true && !isFolder) {
      // An argument of a command need not be a file.
      if (trainer.kind === 'command' && trainer.files?.includes(name) !== true) continue
      throw invalid(`${part}: there is no file ${name} in the folder of the model file: correct the path`)
    }
    if (!real!.startsWith(root + sep))
      throw invalid(`${part}: ${name} leads out of the folder of the model file: move it there`)
    if (isFolder) await addBelow(path, { ...location, isDeep: true }, add)
    else await add(path)
    if (isFolder || (trainer.kind === 'python' && name === trainer.requirements)) continue
    const isAlone = (await realpath(dirname(path))) !== root
    await addBelow(
      dirname(path),
      { ...location, isDeep: isAlone, extension: isAlone ? undefined : extname(path) },
      add,
    )
  }
  if (trainer.kind === 'command' && trainer.files === undefined && files.size === 0)
    throw invalid(
      `${part}: no argument of the command is a file in the folder of the model file, so a change of the program would go unnoticed: name its files or folders, as in { files: ['trainer'] }, or files: [] for an installed program`,
    )
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Returns the names that may be files. */
function named(trainer: Trainer): string[] {
  if (trainer.kind === 'queue') return []
  if (trainer.kind === 'command')
    return [
      ...trainer.command.filter((argument) => !/^[-/]|(^|\/)\.\.(\/|$)/.test(argument)),
      ...(trainer.files ?? []),
    ]
  return [trainer.file, ...(trainer.requirements === undefined ? [] : [trainer.requirements])]
}

interface Below {
  /** The part of the model file that names the program. */
  part: Part
  /** The folder of the model files, which no link may leave. */
  root: string
  /** The files that the program names, for messages. */
  ofProgram: string
  isDeep: boolean
  /** Absent: files with any extension. */
  extension?: string | undefined
  /** The folders on the way here, because a link may lead back to one. */
  above?: readonly string[]
}

/** Adds the files of a folder. Links are followed, because a program reads what they lead to. */
async function addBelow(folder: string, below: Below, add: (path: string) => Promise<void>): Promise<void> {
  const { root, part, ofProgram, isDeep, extension, above = [] } = below
  const here = await realpath(folder)
  if (above.includes(here)) return
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const { name } = entry
    if (name.startsWith('.') || name.endsWith('.pyc') || omitted.has(name)) continue
    const path = join(folder, name)
    const shown = relative(root, join(here, name))
    if (name.includes('\uFFFD')) throw invalid(`${part}: the name of ${shown} is not UTF-8: rename the file`)
    const real = await realpath(path).catch(() => undefined)
    const found = real === undefined ? undefined : await stat(real)
    const isCode = found?.isDirectory()
      ? isDeep
      : found?.isFile() === true && (extension ?? extname(name)) === extname(name)
    if (!isCode) continue
    if (!real!.startsWith(root + sep))
      throw invalid(
        `${part}: ${shown} beside ${ofProgram} is a link out of the folder of the model file, so a change behind it would go unnoticed: move the files there or, if they are no code, let the name of the link begin with a dot`,
      )
    if (found!.isDirectory()) await addBelow(path, { ...below, above: [...above, here] }, add)
    // The file of another model is no code of this one.
    else if (isDeep || !(await isPythonModel(path))) await add(path)
  }
}

/** Finds the files of a training program, so that the code digest of a version covers them. */
import { createHash } from 'node:crypto'
import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, extname, join, relative, sep } from 'node:path'
import type { Trainer } from '../../domain/training/trainer.ts'
import { invalid } from './code-digest.ts'

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
 * Returns `sha256:…` over `digest` and the files of the program: its script, its requirements and all files beside the script, at any
 * depth. If the script lies in the folder of the model files, only files with its extension count. Throws `invalid_model_file` for a
 * missing file and for a file outside the folder of the model file.
 */
export const digestWithProgram = async (digest: string, folder: string, trainer: Trainer): Promise<string> =>
  digestWithFiles(digest, await programFiles(folder, trainer))

/** Returns the same digest for files that are already read. */
export function digestWithFiles(digest: string, files: ProgramFiles): string {
  const hash = createHash('sha256').update(`${digest}\n`)
  for (const [path, found] of files) hash.update(`${found}  ${path}\n`)
  return `sha256:${hash.digest('hex')}`
}

export type ProgramFiles = readonly (readonly [path: string, digest: string])[]

/** Returns path → digest of the files of a program, relative to the folder of the model file. */
export async function programFiles(folder: string, trainer: Trainer): Promise<ProgramFiles> {
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
        `train: the files beside ${named(trainer).join(', ')} are more than ${maxFiles} or larger than ${maxBytes / 1_048_576} MB: move data out of this folder`,
      )
    files.set(name, createHash('sha256').update(content).digest('hex'))
  }
  for (const name of named(trainer)) {
    const path = join(folder, name)
    const real = await realpath(path).catch(() => undefined)
    const isFile = real !== undefined && (await stat(real)).isFile()
    // An argument of a command need not be a file.
    if (!isFile && trainer.kind === 'command') continue
    if (!isFile)
      throw invalid(`train: there is no file ${name} in the folder of the model file: correct the path`)
    if (!real.startsWith(root + sep))
      throw invalid(`train: ${name} leads out of the folder of the model file: move it there`)
    await add(path)
    if (name !== (trainer.kind === 'python' ? trainer.requirements : undefined))
      for (const beside of await filesBeside(path, root)) await add(beside)
  }
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Returns the names that may be files. */
function named(trainer: Trainer): string[] {
  if (trainer.kind === 'queue') return []
  if (trainer.kind === 'command')
    return trainer.command.filter((argument) => !/^[-/]|(^|\/)\.\.(\/|$)/.test(argument))
  return [trainer.file, ...(trainer.requirements === undefined ? [] : [trainer.requirements])]
}

async function filesBeside(script: string, root: string): Promise<string[]> {
  const folder = dirname(script)
  const alone = (await realpath(folder)) !== root
  const entries = await readdir(folder, { recursive: alone, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter(
      (path) =>
        !relative(folder, path)
          .split(sep)
          .some((part) => part.startsWith('.') || omitted.has(part)),
    )
    .filter((path) => !path.endsWith('.pyc') && (alone || extname(path) === extname(script)))
}

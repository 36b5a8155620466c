/** Writes the files of a project. Never overwrites an existing file unless told to. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { projectFile } from '../../project.mjs'
import { failure } from '../client/client.ts'

export interface Written {
  /** Whether the folder already was a project. */
  wasProject: boolean
  created: string[]
  overwritten: string[]
  /** Existing files of the project that differ and were kept. */
  kept: string[]
  /** The fields that were added to package.json. */
  added: string[]
}

type Json = Record<string, unknown>

export interface ProjectContent {
  /** Path → content of the model file and its data. */
  model: Readonly<Record<string, string | Buffer>>
  /** Path → content of the files that the models of a project share. */
  shared: Readonly<Record<string, string>>
  /** The package.json. */
  manifest: Json
}

/**
 * Writes all files or none. Throws `refused` with the files in the way, unless `overwrite` is set. Keeps the shared files of an existing
 * project, and adds absent fields to its package.json.
 */
export function writeProject(
  folder: string,
  { model, shared, manifest }: ProjectContent,
  { overwrite }: { overwrite: boolean },
): Written {
  const at = (path: string) => join(folder, path)
  const isProject = existsSync(at(projectFile))
  const all: ProjectContent['model'] = { ...model, ...shared }
  const changed = Object.keys(all).filter((path) => !existsSync(at(path)) || !isSame(at(path), all[path]!))
  const kept = isProject ? changed.filter((path) => path in shared && existsSync(at(path))) : []
  const paths = changed.filter((path) => !kept.includes(path))
  const present = paths.filter((path) => existsSync(at(path)))
  if (present.length > 0 && !overwrite)
    throw failure({
      code: 'refused',
      detail: `${folder} has ${present.join(', ')} already, and nothing was written`,
      remedy: isProject
        ? 'Give the model another name with --name, move the files, or overwrite them with --overwrite.'
        : 'Name another folder, move the files, or overwrite them with --overwrite.',
    })
  for (const path of paths) {
    mkdirSync(dirname(at(path)), { recursive: true })
    writeFileSync(at(path), all[path]!)
  }
  const manifestPath = at('package.json')
  if (!existsSync(manifestPath)) {
    writeFileSync(manifestPath, `${JSON.stringify(manifest, null, 2)}\n`)
    return {
      wasProject: isProject,
      created: ['package.json', ...paths.filter((path) => !present.includes(path))],
      overwritten: present,
      kept,
      added: [],
    }
  }
  const { merged, added } = mergeManifest(readManifest(manifestPath), manifest)
  if (added.length > 0) writeFileSync(manifestPath, `${JSON.stringify(merged, null, 2)}\n`)
  return {
    wasProject: isProject,
    created: paths.filter((path) => !present.includes(path)),
    overwritten: present,
    kept,
    added,
  }
}

const isSame = (path: string, content: string | Buffer): boolean =>
  readFileSync(path).equals(Buffer.from(content))

function readManifest(path: string): Json {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Json
  } catch (error) {
    throw failure({
      code: 'refused',
      detail: `${path} is not valid JSON: ${(error as Error).message}`,
      remedy: 'Correct the file, or name another folder.',
    })
  }
}

/** Adds absent fields, and absent entries of fields such as `scripts`. The failing test script that `npm init` writes counts as absent. */
export function mergeManifest(found: Json, template: Json): { merged: Json; added: string[] } {
  const merged = { ...found }
  const added: string[] = []
  for (const [name, value] of Object.entries(template)) {
    const own = found[name]
    if (own === undefined) {
      merged[name] = value
      added.push(name)
    } else if (typeof value === 'object' && typeof own === 'object' && own !== null) {
      const isAbsent = (key: string) =>
        !(key in own) || String((own as Json)[key]).includes('no test specified')
      const absent = Object.entries(value as Json).filter(([key]) => isAbsent(key))
      if (absent.length === 0) continue
      merged[name] = { ...own, ...Object.fromEntries(absent) }
      added.push(...absent.map(([key]) => `${name}.${key}`))
    } else if (name === 'type' && own !== value) {
      // Model files are ES modules; `npm init` writes "commonjs".
      merged[name] = value
      added.push(name)
    }
  }
  return { merged, added }
}

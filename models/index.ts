/**
 * Loads the model files: every `.ts` file of this directory except `define.ts` and `index.ts`. A new model needs no registration, and
 * a broken file does not affect the others.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ModelDefinition } from '../domain/model-definition.ts'
import { DomainError, isError } from '../domain/errors.ts'
import { importSource } from '../scripts/build/import-source.mjs'
import { codeDigest } from './define/code-digest.ts'
import type { Model } from './define/model.ts'

export const modelsDirectory = fileURLToPath(new URL('.', import.meta.url))

export interface LoadedModel {
  name: string
  file: string
  /** The digest of the file and its imports. */
  codeDigest: string
  definition: ModelDefinition
  train: Model['train']
}

export interface BrokenModel {
  file: string
  /** Each begins with its place in the file, where it has one. */
  issues: string[]
}

/** The model files of a directory, by name. */
export async function listModelFiles(directory = modelsDirectory): Promise<string[]> {
  return (await readdir(directory))
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .filter((file) => file !== 'define.ts' && file !== 'index.ts')
    .sort()
}

/** Loads one file, or the changed one again. Never throws: a broken file is returned with its issues. */
export async function loadModelFile(
  file: string,
  directory = modelsDirectory,
): Promise<LoadedModel | BrokenModel> {
  try {
    return await loadFile(join(directory, file), file.slice(0, -'.ts'.length))
  } catch (error) {
    return { file, issues: issuesOf(error) }
  }
}

/** Loads all model files into this process; `loadModelsInChild` survives a file that ends or hangs it. */
export async function loadModels(
  directory = modelsDirectory,
): Promise<{ models: LoadedModel[]; broken: BrokenModel[] }> {
  const models: LoadedModel[] = []
  const broken: BrokenModel[] = []
  for (const file of await listModelFiles(directory)) {
    const loaded = await loadModelFile(file, directory)
    if ('issues' in loaded) broken.push(loaded)
    else models.push(loaded)
  }
  return { models, broken }
}

/** Loads one model by its name. Throws `model_not_found`, or `invalid_model_file` with its issues. */
export async function loadModel(name: string, directory = modelsDirectory): Promise<LoadedModel> {
  const file = `${name}.ts`
  if (!/^[a-z][a-z0-9-]*$/.test(name) || !(await readdir(directory)).includes(file))
    throw new DomainError('model_not_found', `no model file for ${JSON.stringify(name)}`)
  try {
    return await loadFile(join(directory, file), name)
  } catch (error) {
    const issues = issuesOf(error)
    throw new DomainError('invalid_model_file', `${file}: ${issues.join('; ')}`, { file, issues })
  }
}

/** Defined by scripts/build. A compiled process cannot read TypeScript. */
declare const isCompiled: boolean | undefined

/** Modules are cached by their URL; the digest in it makes an edited file a new one. */
const importFile = async (path: string, digest: string): Promise<Record<string, unknown>> =>
  typeof isCompiled === 'undefined'
    ? ((await import(`${pathToFileURL(path).href}?v=${digest.slice(-16)}`)) as Record<string, unknown>)
    : importSource(path)

async function loadFile(path: string, name: string): Promise<LoadedModel> {
  const digest = await codeDigest(path)
  const exported = await importFile(path, digest)
  const found = Object.values(exported).filter(isModel)
  if (found.length !== 1 || found[0] === undefined)
    throw new DomainError('invalid_model_file', `a model file must export one model, not ${found.length}`, {
      issues: [`exports: one model made with defineModel is required, not ${found.length}`],
    })
  const { definition, train } = found[0]
  if (definition.name !== name) {
    const issue = `"${definition.name}" must be in ${definition.name}.ts, not in ${name}.ts`
    throw new DomainError('invalid_model_file', `the model ${issue}`, { issues: [`name: ${issue}`] })
  }
  return { name, file: path, codeDigest: digest, definition, train }
}

function isModel(value: unknown): value is Model {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'tenure-model'
}

function issuesOf(error: unknown): string[] {
  if (isError(error, 'invalid_model_file'))
    return (error.context['issues'] as string[] | undefined) ?? [error.message]
  return [error instanceof Error ? error.message : String(error)]
}

/** Sends the model files of the project to the server at TENURE_URL: each model as an archive of its file, what it imports, and its programs. */
import { readFile } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { readCode } from '../../models/define/code-digest.ts'
import { filesOfPrograms } from '../../models/define/program-files.ts'
import { modelOfFile, modelsDirectory, type BrokenModel } from '../../models/index.ts'
import { packModelFiles, printedEntry } from '../../store/registry/model-files.ts'
import { checkout, projectFolder, readVersion } from '../../temporal.config.ts'
import { commandProblemOf, failure, path, usageError, type Client } from '../client/client.ts'
import { loadModelsInChild, type DeclaredModel } from './load-models.ts'

/** The answer of `POST /v1/models/:name/files`. */
export interface SentModel {
  model: string
  digest: string
  state: 'unchanged' | 'applied' | 'waiting' | 'compared'
  change: 'new' | 'changed' | 'unchanged'
  fields: string[]
  files: { path: string; change: string }[]
  code?: string
  settings?: string
  note?: string
}

export interface SentModels {
  models: SentModel[]
  broken: BrokenModel[]
  /** Models of which the key sends no files. */
  foreign: string[]
}

/** Sends the named models, or every model of the project that the key may send. An invalid file is reported, and the others are sent. */
export async function sendModels(
  api: Client,
  {
    names,
    isDry,
    directory = modelsDirectory,
  }: { names: readonly string[]; isDry: boolean; directory?: string },
): Promise<SentModels> {
  const loaded = await loadModelsInChild({ directory, isPrinted: true })
  const isNamed = (name: string) => names.length === 0 || names.includes(name)
  const broken = loaded.broken.filter(({ file }) => isNamed(modelOfFile(file)))
  const present = [
    ...loaded.models.map(({ name }) => name),
    ...loaded.broken.map(({ file }) => modelOfFile(file)),
  ]
  const absent = names.find((name) => !present.includes(name))
  if (absent !== undefined)
    throw usageError(
      `there is no file of the model ${absent}`,
      `Name one of ${present.join(', ') || 'your model files'}.`,
    )
  const sent: SentModels = { models: [], broken, foreign: [] }
  for (const model of loaded.models.filter(({ name }) => isNamed(name)))
    try {
      sent.models.push(await sendModel(api, model, { isDry, directory }))
    } catch (error) {
      const { code, detail } = commandProblemOf(error) ?? {}
      if (code === 'invalid_model_file') broken.push({ file: basename(model.file), issues: [detail ?? ''] })
      else if (code === 'forbidden' && names.length === 0 && detail?.includes('no access to the model'))
        sent.foreign.push(model.name)
      else throw error
    }
  return sent
}

async function sendModel(
  api: Client,
  model: DeclaredModel,
  { isDry, directory }: { isDry: boolean; directory: string },
): Promise<SentModel> {
  const archive = packModelFiles(await filesOf(model, directory))
  const to = path`/v1/models/${model.name}/files`
  return api.postBytes<SentModel>(isDry ? `${to}?dry_run=true` : to, archive).catch((error: unknown) => {
    const problem = commandProblemOf(error)
    if (problem?.code !== 'not_found' || !problem.detail.startsWith('no route')) throw error
    throw failure({
      code: 'not_found',
      detail: `the server at ${api.url} takes no model files: it is older than this command (${readVersion()})`,
      remedy: 'Upgrade the server, or run `tenure models sync` there.',
    })
  })
}

/** The files by their paths in the folder of the model files. Throws `usage` for an import that leads out of it. */
async function filesOf(
  { file: modelFile, definition, printed }: DeclaredModel,
  directory: string,
): Promise<Map<string, Buffer>> {
  const { files } = await readCode(modelFile)
  const programs = (await filesOfPrograms(directory, definition)) ?? []
  const names = files.flatMap((file) => {
    const inside = relative(directory, file)
    if (!inside.startsWith('..')) return [inside]
    // Packages of Tenure are those of the server.
    if (file.startsWith(`${checkout}/`) && checkout !== projectFolder) return []
    throw usageError(
      `${basename(modelFile)} imports ${relative(projectFolder, file)}, which lies outside of the folder of the model files`,
      'Move the file into that folder, and import it from there.',
    )
  })
  const all = new Set([...names, ...programs.map(([file]) => file)])
  const entries = [...all].map(async (file) => [file, await readFile(join(directory, file))] as const)
  const data = [printedEntry, Buffer.from(JSON.stringify(printed))] as const
  return new Map([...(await Promise.all(entries)), data])
}

/** `tenure export`: writes a version as files that run without Tenure. */
import { resolve } from 'node:path'
import { groupedDigits } from '../../../domain/figures.ts'
import { environmentWith, readCommandConfig, readConfig } from '../../../temporal.config.ts'
import type { ModelAnswer, VersionAnswer } from '../../client/responses.ts'
import { type Client, failure, path, usageError } from '../../client/client.ts'
import { findStateDir } from '../../client/connection.ts'
import type { CommandSpec } from '../../program.ts'

export const exportCommand: CommandSpec = {
  name: 'export <model> <version-or-folder> [folder]',
  summary: 'Export a version (default: champion) with a predictor for browsers and Node',
  options: [
    ['--counters', 'Count values and answers in the bins of the training profile, to be sent back for drift'],
  ],
  examples: [
    'export iris ./iris-edge',
    'export iris iris_v1.2.0 ./iris-edge',
    'export flight-delay v1.0.0 /srv/www/flights --counters',
  ],
  async run({ terminal, api }, { args, options }) {
    const [model = '', second = '', third] = args
    const folder = resolve(third ?? second)
    const { rolledBackAt, ...version } = await versionOf(
      api(),
      model,
      third === undefined ? undefined : second,
    )
    const { exportVersion } = await import('../../export/write.ts')
    const stateDir = findStateDir(readCommandConfig())
    const { artifactRoot, objectStore } = readConfig(
      // Only the artifact directory is read from this configuration.
      environmentWith({ TENURE_STATE: stateDir, DATABASE_URL: 'postgres://127.0.0.1/none' }),
    )
    const done = await exportVersion({
      ...version,
      artifactRoot,
      objectStore,
      folder,
      counters: options['counters'] === true,
    })
    terminal.answer(
      { ...done, rolled_back_at: rolledBackAt },
      [
        `Exported ${done.version} to ${done.folder}: ${Object.entries(done.files)
          .map(([name, bytes]) => `${name} (${groupedDigits(Math.ceil(bytes / 1_000))} kB)`)
          .join(', ')}`,
        done.issue === undefined
          ? `${done.golden} golden predictions match. Try it: cd ${done.folder} && python3 -m http.server`
          : terminal.paint('yellow', done.issue),
        ...(rolledBackAt === undefined
          ? []
          : [
              terminal.paint(
                'yellow',
                `! ${done.version} was rolled back at ${rolledBackAt}, and no server answers with it any more: export the champion with \`tenure export ${model} FOLDER\`, or do not publish this folder`,
              ),
            ]),
      ].join('\n'),
    )
  },
}

async function versionOf(api: Client, model: string, named: string | undefined) {
  const full = named === undefined || named.startsWith(`${model}_`) ? named : `${model}_${named}`
  const version = full ?? (await championOf(api, model))
  const found = await api.get<VersionAnswer>(path`/v1/versions/${version}`)
  if (found.model !== model)
    throw usageError(
      `${version} is a version of ${found.model}, not of ${model}`,
      `See \`tenure versions ${model}\`.`,
    )
  return {
    version: found.version,
    digest: found.artifact_digest,
    rolledBackAt: found.rolled_back_at,
  }
}

async function championOf(api: Client, model: string): Promise<string> {
  const { champion, first_step: remedy } = await api.get<ModelAnswer>(path`/v1/models/${model}`)
  if (champion !== undefined) return champion.version
  throw failure({
    code: 'no_champion',
    detail: `${model} has no champion to export; name a version`,
    remedy,
    status: 409,
  })
}

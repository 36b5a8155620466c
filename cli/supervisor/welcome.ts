/** What a person needs to know once everything runs: where it is, and the key that is shown once. */
import { firstKey } from './bootstrap.ts'
import type { System } from './system.ts'

export function addresses({ url, urls, temporalUi, log, stateDir }: System) {
  return { url, urls, docs: `${url}/docs`, temporalUi, log: log.path, stateDir }
}

/** What a person needs to know once all of it serves. */
export function welcome({ url, urls, temporalUi, log, prepared, stateDir }: System): string[] {
  return [
    '',
    `Dashboard    ${url}`,
    `API          ${url}/v1`,
    ...(urls.length === 1 ? [] : [`Each replica ${urls.join('  ')}`]),
    `API docs     ${url}/docs`,
    ...(temporalUi === undefined ? [] : [`Temporal UI  ${temporalUi}`]),
    `Log          ${log.path}`,
    `State        ${stateDir}`,
    ...firstKey(prepared),
    ...prepared.broken.flatMap(({ file, issues }) => [
      '',
      `models/${file} was not taken in:`,
      ...issues.map((issue) => `  ${issue}`),
    ]),
    '',
    'Ctrl-C stops everything.',
  ]
}

/** Formats the addresses and the new admin key that `tenure up` prints. */
import { firstKey } from './bootstrap.ts'
import type { System } from './system.ts'

export function addresses({ url, urls, temporalUi, log, stateDir }: System) {
  return { url, urls, docs: `${url}/docs`, temporalUi, log: log.path, stateDir }
}

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
      `models/${file} is invalid and was not applied:`,
      ...issues.map((issue) => `  ${issue}`),
    ]),
    '',
    'Ctrl-C stops everything.',
  ]
}

/** Checks that each exported name is unique in the tree, so that a search for it leads to one place. */
import type { Source } from './source.ts'

/** Names that several files may export, each with a reason. */
export const sharedNames: Readonly<Record<string, string>> = {
  failureConverter: 'Temporal requires the name, in the sandbox of workflows and outside of it',
  quantiles: 'a label of model files, and those of a list of numbers',
  interceptors: 'the name that Temporal looks for: in the workflows, and in a worker of tests',
  postgres: 'a source of rows in model files, and a step of the set-up',
}

/** Returns names that several files export without permission, and exceptions that are no longer needed. */
export function issuesOfExports(
  sources: readonly Source[],
  allowed: Readonly<Record<string, string>>,
): string[] {
  const owners = new Map<string, string[]>()
  for (const { path, exported } of sources)
    for (const name of exported) owners.set(name, [...(owners.get(name) ?? []), path])
  const shared = [...owners].filter(([, paths]) => paths.length > 1)
  return [
    ...shared
      .filter(([name]) => !Object.hasOwn(allowed, name))
      .map(([name, paths]) => `${name} is exported by ${paths.join(' and ')}`),
    ...Object.keys(allowed)
      .filter((name) => !shared.some(([each]) => each === name))
      .map((name) => `${name} needs no exception any more: one file exports it`),
  ]
}

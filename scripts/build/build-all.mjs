// @ts-check
// Compiles everything that runs as a process, and the workflows. What is up to date is left as it is.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { groups } from './entries.mjs'
import { findCompiled } from './manifest.mjs'
import { findCode, workflowCode } from './workflows.mjs'

/** @param {string} root */
const staleGroups = (root) =>
  groups.filter(({ entries }) =>
    entries.some((entry) => existsSync(join(root, entry)) && findCompiled(root, entry) === undefined),
  )

/** @param {string} root */
const lacksWorkflows = async (root) =>
  existsSync(join(root, 'workflows', 'index.ts')) && (await findCode(root)) === undefined

/** The parts that are missing or stale. @param {string} root */
export async function findStale(root) {
  const names = staleGroups(root).map(({ name }) => name)
  return (await lacksWorkflows(root)) ? [...names, 'workflows'] : names
}

/** Throws an error with the text of esbuild if a source has an error. @param {string} root */
export async function buildAll(root) {
  const { compileGroup, explain } = await import('./compile.mjs')
  const compileGroups = async () => {
    try {
      for (const group of staleGroups(root)) await compileGroup(root, group)
    } catch (error) {
      throw new Error((await explain(error)) ?? String(error), { cause: error })
    }
  }
  const compileWorkflows = async () => {
    const silent = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} }
    if (await lacksWorkflows(root)) await workflowCode(root, { logger: silent })
  }
  // The groups are compiled in a process of esbuild, the workflows in this one.
  await Promise.all([compileGroups(), compileWorkflows()])
}

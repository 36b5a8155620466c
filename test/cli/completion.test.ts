/** Tests completion in the shells: each sources the script and completes the same words. */
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { commands } from '../../cli/commands/all-commands.ts'
import { completionPlaces, completionScript, type Shell } from '../../cli/commands/project/completion.ts'
import { exitCodes } from '../../cli/exit-codes.ts'
import { runProgram } from '../../cli/program.ts'

/** Commands by which each shell prints its completions. */
const ask: Record<Shell, (words: readonly string[]) => string> = {
  bash: (words) =>
    `COMP_WORDS=(${words.map(quoted).join(' ')}); COMP_CWORD=${words.length - 1}; _tenure; printf '%s\\n' "\${COMPREPLY[@]}"`,
  // Zsh's completion needs a line editor; this replaces the function that would show the choices.
  zsh: (words) =>
    `words=(${words.map(quoted).join(' ')}); CURRENT=${words.length}; _describe() { print -l -- "\${(@)\${(@P)2}%%:*}" }; _tenure`,
  fish: (words) => `complete -C ${quoted(words.join(' '))}`,
}
const quoted = (text: string): string => `'${text}'`
/** Stands for the program, which answers with the kind that it was asked for. */
const start: Record<Shell, string> = {
  bash: 'tenure() { echo "$2-1"; echo "$2-2"; }\n',
  zsh: 'compdef() { }\ntenure() { echo "$2-1"; echo "$2-2"; }\n',
  fish: 'function tenure; echo $argv[2]-1; echo $argv[2]-2; end\n',
}

function completed(shell: Shell, ...words: string[]): string[] {
  const script = `${start[shell]}${completionScript(shell, commands)}\n${ask[shell](['tenure', ...words])}\n`
  const clean = { bash: ['--norc', '-c'], zsh: ['-f', '-c'], fish: ['--no-config', '-c'] }[shell]
  const { stdout, stderr } = spawnSync(shell, [...clean, script], { encoding: 'utf8' })
  expect(stderr).toBe('')
  const last = words.at(-1)!
  return stdout
    .split('\n')
    .map((line) => line.split('\t')[0]!)
    .filter((word) => word !== '' && word.startsWith(last))
}

const isInstalled = (shell: Shell): boolean => spawnSync(shell, ['-c', 'true']).error === undefined

describe.each<Shell>(['bash', 'zsh', 'fish'])('completion in %s', (shell) => {
  it.skipIf(!isInstalled(shell))('knows commands, those of a group, options and the shells', () => {
    expect(completed(shell, 'retr')).toEqual(['retrain', 'retrainings'])
    expect(completed(shell, 'releases', 'w')).toEqual(['watch'])
    expect(completed(shell, 'release', 'sh')).toEqual(['show'])
    expect(completed(shell, 'releases', 'show', 'rel_1', '--dec')).toEqual(['--decisions'])
    expect(completed(shell, 'completion', 'z')).toEqual(['zsh'])
    expect(completed(shell, 'kill-switches', 'set', 'iris', 'fall')).toEqual(['fallback'])
  })

  it.skipIf(!isInstalled(shell))('asks for the names of models, versions and open releases', () => {
    expect(completed(shell, 'retrain', 'mod')).toEqual(['models-1', 'models-2'])
    expect(completed(shell, 'releases', 'models-')).toEqual(['models-1', 'models-2'])
    expect(completed(shell, 'approve', '--reason', 'x', 'rel')).toEqual(['releases-1', 'releases-2'])
    expect(completed(shell, 'releases', 'start', 'ver')).toEqual(['versions-1', 'versions-2'])
    expect(completed(shell, 'rollback', 'models-1')).toEqual(['models-1'])
    expect(completed(shell, 'status', 'models-')).toEqual([])
  })
})

it('names each kind of argument once, and knows the words of those that have some', () => {
  const asked = completionPlaces(commands).flatMap(({ asks = [] }) => asks)
  expect([...new Set(asked)].sort()).toEqual(['models', 'releases', 'versions'])
  for (const each of commands)
    for (const { name, values = {} } of 'commands' in each ? each.commands : [each])
      for (const argument of Object.keys(values)) expect(name).toContain(`<${argument}>`)
})

it('has every command and every option', () => {
  const places = completionPlaces(commands)
  const known = new Set(places.flatMap(({ path, words }) => words.map(({ word }) => `${path} ${word}`)))
  for (const each of commands)
    for (const spec of 'commands' in each ? each.commands : [each])
      for (const [flags] of spec.options ?? []) {
        const [name] = spec.name.split(' ')
        const path = 'commands' in each ? `${each.name} ${name}` : name
        for (const [word] of flags.matchAll(/--[\w-]+/g)) expect(known, path).toContain(`${path} ${word}`)
      }
})

it('is printed by the command, and refused for another shell', async () => {
  let out = ''
  let err = ''
  const streams = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
  }
  expect(await runProgram(commands, ['completion', 'bash'], streams)).toBe(exitCodes.done)
  expect(out.trim()).toBe(completionScript('bash', commands).trim())
  expect(await runProgram(commands, ['completion', 'tcsh'], streams)).toBe(exitCodes.usage)
  expect(err).toContain('completion for bash, zsh, fish, not for tcsh')
})

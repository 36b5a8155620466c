/** `tenure completion`: prints the shell completion script. */
import { usageError } from '../../client/client.ts'
import { completionScript, shells, type Shell } from '../../completion.ts'
import type { CommandGroup, CommandSpec } from '../../program.ts'

export const completionCommand = (commands: () => readonly (CommandSpec | CommandGroup)[]): CommandSpec => ({
  name: 'completion <shell>',
  summary: 'Print the completion for bash, zsh or fish, to be sourced by the shell',
  examples: ['completion bash', 'completion zsh', 'completion fish'],
  run({ terminal }, { args }) {
    const [shell = ''] = args
    if (!isShell(shell)) throw usageError(`there is completion for ${shells.join(', ')}, not for ${shell}`)
    const script = completionScript(shell, commands())
    terminal.answer({ shell, script }, script)
    return Promise.resolve()
  },
})

const isShell = (name: string): name is Shell => (shells as readonly string[]).includes(name)

/** Callers of a model that ask a gateway at once, and count which version answered. */
import { Agent, request } from 'node:http'

/** How a caller asks, and which server an answer names. */
export interface CallerQuestion {
  path: string
  body?: string
  nameOf: (text: string) => string
}

export interface Callers {
  /** Sends requests at once and returns how often each server answered, by its name, and how often another status or none came. */
  load(requests: number): Promise<Record<string, number>>
  stop(): void
}

export function openCallers(port: number, { path, body, nameOf }: CallerQuestion): Callers {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const ask = () =>
    new Promise<string>((resolve) => {
      const method = body === undefined ? 'GET' : 'POST'
      const headers = { 'content-type': 'application/json' }
      request({ host: '127.0.0.1', port, agent, path, method, headers }, (answer) => {
        let text = ''
        answer.on('data', (part) => (text += String(part)))
        answer.on('end', () => resolve(answer.statusCode === 200 ? nameOf(text) : `${answer.statusCode}`))
        answer.on('error', () => resolve('broken'))
      })
        .on('error', () => resolve('broken'))
        .end(body)
    })
  return {
    async load(requests) {
      const answers: Record<string, number> = {}
      await Promise.all(
        Array.from({ length: requests }, async () => {
          const text = await ask()
          answers[text] = (answers[text] ?? 0) + 1
        }),
      )
      return answers
    },
    stop: () => agent.destroy(),
  }
}

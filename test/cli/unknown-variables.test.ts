/** Tests that misspelled variables are found, and that no documented one is. */
import { expect, it } from 'vitest'
import { findUnknownVariables } from '../../cli/unknown-variables.ts'
import { variables } from '../support/docs/variables.ts'

it('a variable that nothing reads is found', () => {
  const environment = {
    TENURE_PROT: '7500',
    TENURE_KEEP_PREDICTIONS: '30',
    TENURE_PORT: '7400',
    PATH: '/bin',
  }
  expect(findUnknownVariables(environment)).toEqual(['TENURE_KEEP_PREDICTIONS', 'TENURE_PROT'])
})

it('no documented variable is unknown, nor one of docker compose, of Kubernetes or of the tests', () => {
  const names = Object.values(variables).flatMap((group) => Object.keys(group))
  const others = [
    'TENURE_APP_PASSWORD',
    'TENURE_API_SERVICE_HOST',
    'TENURE_PORT_7400_TCP_ADDR',
    'TENURE_TEST_SEED',
  ]
  const environment = Object.fromEntries([...names, ...others].map((name) => [name, 'any']))
  expect(findUnknownVariables(environment)).toEqual([])
})

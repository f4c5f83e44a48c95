// Holds GraphQL queries against GitHub's published schema.
//
//     graphql.mjs < QUERIES
//
// Each line is {"query", "variables"} in JSON. Prints a JSON array of sentences,
// one for each mistake.
import { readFileSync } from "node:fs";
import { schema as published } from "@octokit/graphql-schema";
import { buildSchema, parse, validate } from "graphql";

// The published schema defines a few fields twice.
const schema = buildSchema(published.idl, { assumeValidSDL: true });
const mistakes = [];
for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const { query, variables = {} } = JSON.parse(line);
  try {
    const document = parse(query);
    mistakes.push(...validate(schema, document).map(String));
    // Fragments declare no variables.
    for (const definition of document.definitions.filter((one) => one.kind === "OperationDefinition")) {
      const known = (definition.variableDefinitions ?? []).map((one) => one.variable.name.value);
      mistakes.push(...Object.keys(variables).filter((name) => !known.includes(name)).map((name) => `unused variable ${name}`));
    }
  } catch (error) {
    mistakes.push(String(error));
  }
}
console.log(JSON.stringify(mistakes));

"""What settings may name and higher rooms do: objectives, recipes and the rules of guards, and where their code is."""

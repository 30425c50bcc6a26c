"""The store on an Elasticsearch server: what its public class is made of."""
